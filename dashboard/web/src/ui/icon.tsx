/** Icons as paths on a grid of 16, drawn in the colour of the text. They say nothing to a screen reader. */

const PATHS = {
  pause: "M5 3v10M11 3v10",
  play: "M4.5 2.8v10.4l8.5-5.2z",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.8 10.8 14 14",
  history: "M2.5 8A5.5 5.5 0 1 0 4.2 4L2.5 5.6M2.5 2.5v3.1h3.1M8 5v3.3l2.2 1.4",
  expand: "M6 2H2v4M10 2h4v4M6 14H2v-4M10 14h4v-4",
  shrink: "M2 6h4V2M14 6h-4V2M2 10h4v4M14 10h-4v4",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M12.8 3.2l-1.1 1.1M4.3 11.7l-1.1 1.1",
  moon: "M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3z",
  bell: "M4 7a4 4 0 0 1 8 0c0 3.5 1.5 4.5 1.5 4.5h-11S4 10.5 4 7zM6.6 13.6a1.5 1.5 0 0 0 2.8 0",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  out: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.8 10.8 14 14M4.8 7h4.4",
  top: "M8 13V4M4 7.5 8 3.5l4 4",
  exit: "M6 2H3v12h3M7 8h7M11 5l3 3-3 3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  pressed?: boolean;
  disabled?: boolean;
}) {
  return (
    <button
      type="button"
      class="icon-button"
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}
