#!/bin/sh
# Makes what compose.secure.yaml needs, in compose/secure/secrets: an authority of our own, certificates, passwords,
# tokens. Needs openssl. What is there already stays: remove a file to have it made anew, then restart the services.
set -eu
umask 077
folder=$(dirname "$0")/secrets
command -v openssl >/dev/null || { echo "no openssl found: install it (Debian: openssl)" >&2; exit 1; }
mkdir -p "$folder"
cd "$folder"

# Alone in its folder, which only its owner may enter; containers read their copies as other users.
keep() { chmod 0444 "$1.new" && mv "$1.new" "$1"; }

random() { [ -s "$1" ] || { openssl rand -hex 24 | tr -d '\n' > "$1.new" && keep "$1"; }; }
for name in kafka_password broker_password keystore_password dashboard_token websocket_token; do
    random "$name"
done

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# The authority; its key stays here and goes into no container.
if [ ! -s ca.pem ]; then
    new_key ca.key
    openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/O=StreamWeaver/CN=StreamWeaver demo authority" \
        -addext basicConstraints=critical,CA:true,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -out ca.pem.new
    keep ca.pem
fi

# certificate NAME ALTERNATIVE_NAMES: NAME.pem and NAME.key, signed by the authority, for 825 days.
certificate() {
    [ ! -s "$1.pem" ] || return 0
    new_key "$1.key.new"
    openssl req -new -key "$1.key.new" -subj "/O=StreamWeaver/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\nbasicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth,clientAuth\n' "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 825 -extfile "$1.ext" \
        -out "$1.pem.new" 2>/dev/null
    keep "$1.key" && keep "$1.pem"
    rm -f "$1.csr" "$1.ext"
}
# The dashboard and the WebSocket server share one.
certificate kafka DNS:kafka,DNS:kafka-1,DNS:kafka-2,DNS:kafka-3
certificate web DNS:web_dashboard,DNS:websocket_server,DNS:localhost,IP:127.0.0.1

if [ ! -s kafka.p12 ] || [ kafka.pem -nt kafka.p12 ]; then
    openssl pkcs12 -export -name kafka -in kafka.pem -inkey kafka.key -certfile ca.pem \
        -passout file:keystore_password -out kafka.p12.new
    keep kafka.p12
fi

# Who may log in at the brokers: they themselves, and the pipeline.
if [ ! -s kafka_jaas.conf ]; then
    cat > kafka_jaas.conf.new <<EOF
KafkaServer {
    org.apache.kafka.common.security.plain.PlainLoginModule required
    username="broker" password="$(cat broker_password)"
    user_broker="$(cat broker_password)"
    user_streamweaver="$(cat kafka_password)";
};
EOF
    keep kafka_jaas.conf
fi
echo "made in $PWD; log in to the dashboard with: cat $PWD/dashboard_token"
