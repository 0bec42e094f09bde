"""Dead letters in a real browser: found, fixed, replayed, discarded."""

import re

from playwright.sync_api import Page, expect


def letters(page: Page):
    return page.locator(".letter")


def test_page_dead_letter_is_fixed_and_arrives(pipeline, view):
    """A dead letter's value is edited and replayed from the page, after a dry run, and its record arrives."""
    shop = pipeline()
    shop.write({"symbol": "A", "price": "n/a", "note": "to be fixed"})
    page = view(shop, "dead-letters")
    expect(letters(page)).to_have_count(1)
    expect(letters(page)).to_contain_text("price")
    letters(page).locator(".letter-open").click()
    detail = page.get_by_label(re.compile("^Dead letter "))
    expect(detail.locator(".letter-error")).to_contain_text('got "n/a", expected a number')
    detail.get_by_role("button", name="Edit").click()
    draft = detail.get_by_label("New value, as JSON")
    text = draft.input_value()
    draft.fill("{ this is no JSON")
    detail.get_by_role("button", name="Replay edited").click()
    expect(detail.get_by_role("alert")).to_contain_text("This is no JSON")
    draft.fill(text.replace("n/a", "12.5"))
    detail.get_by_role("button", name="Replay edited").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("1 would be replayed (parse: 1)")
    assert shop.values("trades") == []
    dialog.get_by_role("button", name="Replay 1").click()
    expect(page.get_by_text("1 dead letter replayed")).to_be_visible()
    expect(page.get_by_text("No dead letters")).to_be_visible()
    page.goto(f"{shop.address}#/pipeline/topic/trades")
    expect(page.locator("button.record")).to_contain_text("to be fixed")
    [value] = shop.values("trades")
    assert (value["price"], value["note"]) == (12.5, "to be fixed")


def test_page_many_letters_are_filtered_and_discarded(pipeline, view):
    """A filter narrows the list, and all that match it are discarded at once; the others stay."""
    shop = pipeline()
    shop.write(*({"symbol": "A", "price": f"bad {n}"} for n in range(5)), "no JSON at all")
    page = view(shop, "dead-letters")
    expect(letters(page)).to_have_count(6)
    page.get_by_label("Text in the reason").fill("expected a number")
    expect(letters(page)).to_have_count(5)
    page.get_by_role("button", name="Discard all that match").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("5 would be discarded")
    dialog.get_by_role("button", name="Discard 5").click()
    expect(page.get_by_text("5 dead letters discarded")).to_be_visible()
    page.get_by_label("Text in the reason").fill("")
    expect(letters(page)).to_have_count(1)
    assert shop.ask("dead-letters")["counts"]["waiting"] == 1


def test_page_chosen_letters_only(pipeline, view):
    """Only chosen dead letters are acted on; cancelling after the dry run changes nothing."""
    shop = pipeline()
    shop.write(*({"symbol": "A", "price": f"bad {n}"} for n in range(3)))
    page = view(shop, "dead-letters")
    expect(letters(page)).to_have_count(3)
    letters(page).nth(1).get_by_role("checkbox").check()
    page.get_by_role("button", name="Discard", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("1 would be discarded")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert shop.ask("dead-letters")["counts"]["waiting"] == 3
    page.get_by_role("button", name="Discard", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Discard 1").click()
    expect(letters(page)).to_have_count(2)
    expect(letters(page).filter(has_text="bad 1")).to_have_count(0)
