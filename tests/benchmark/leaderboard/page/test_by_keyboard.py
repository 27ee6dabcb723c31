"""The page by keyboard, by screen reader, by its address, and without JavaScript."""

from benchmark.leaderboard.page.views import VIEWS
from tests.benchmark.leaderboard.page.tables import TABS


def test_tabs_are_worked_by_keys(visit, published):
    visited = visit(published)
    tabs = visited.page.get_by_role("tab")
    tabs.nth(0).focus()
    steps = {"ArrowRight": 1, "End": 4, "ArrowLeft": 3, "Home": 0}
    for key, place in [*steps.items(), ("ArrowLeft", 4), ("ArrowRight", 0)]:
        visited.page.keyboard.press(key)
        assert visited.page.evaluate("document.activeElement.id") == f"tab-{TABS[place]}"
        assert [tab.get_attribute("aria-selected") for tab in tabs.all()].index("true") == place
        assert visited.page.locator("[role=tabpanel]:visible").get_attribute("id") == TABS[place]
    assert [tab.get_attribute("tabindex") for tab in tabs.all()] == ["0", *["-1"] * (len(TABS) - 1)]


def test_headers_sort_and_explain_themselves_by_keys(visit, published):
    page = visit(published, viewport={"width": 375, "height": 812}).page
    page.locator("#unlearning .scroller").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "ua"
    assert "classified wrongly" in page.inner_text("#tooltip")
    page.keyboard.press("Enter")
    assert page.locator("th[data-column=ua]").get_attribute("aria-sort") == "ascending"
    assert page.evaluate(FOCUSED) == "ua"
    page.keyboard.press("Escape")
    assert page.locator("#tooltip").is_hidden()
    for _ in range(4):
        page.keyboard.press("Tab")  # the table is scrolled for it
    assert page.evaluate(FOCUSED) == "avg_gap"
    box = page.locator("#tooltip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 375
    assert "headline metrics" in page.inner_text("#tooltip")


FOCUSED = "document.activeElement.closest('th').dataset.column"


def test_a_mouse_over_a_header_shows_what_the_column_means(visit, published):
    page = visit(published, reduced_motion="reduce").page
    for place in ("start", "end"):  # of the window: there is always room for it
        page.locator("#unlearning thead").evaluate("(head, block) => head.scrollIntoView({ block })", place)
        page.mouse.move(0, 450)
        assert page.locator("#tooltip").is_hidden()
        page.hover("#unlearning th[data-column=avg_gap] button")
        assert "mean |method - Retrain| over the headline metrics" in page.inner_text("#tooltip")
        box = page.locator("#tooltip").bounding_box()
        assert 0 <= box["y"] <= 900 - box["height"]


def test_a_screen_reader_hears_what_a_sighted_person_sees(visit, published):
    page = visit(published).page
    for role in ("banner", "main", "contentinfo", "tablist"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("status").first.get_attribute("aria-live") == "polite"
    table = page.get_by_role("table", name="Unlearning, from leaderboards/unlearning.csv")
    assert table.get_by_role("rowheader", name="salun").count() > 0
    assert table.get_by_role("columnheader").count() == page.locator("#unlearning thead th[scope=col]").count() > 5
    assert page.get_by_role("region", name="Unlearning, from").get_attribute("tabindex") == "0"
    description = described(page, "#unlearning th[data-column=ra] button")
    assert description == "Accuracy on the retained training images; closest to Retrain is best."


def described(page, selector):
    """An element's description, as the browser hands it to a screen reader."""
    session = page.context.new_cdp_session(page)
    found = session.send("Runtime.evaluate", {"expression": f"document.querySelector('{selector}')"})
    nodes = session.send("Accessibility.getPartialAXTree", {"objectId": found["result"]["objectId"]})["nodes"]
    return nodes[0]["description"]["value"]


def test_the_first_stop_of_the_keyboard_skips_to_the_tables(visit, published):
    page = visit(published).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_method_in_the_table_leads_to_its_card_and_back(visit, published):
    visited = visit(published)
    visited.page.locator("#unlearning tbody").get_by_role("link", name="salun").first.click()
    card = visited.page.locator("#card-unlearning-salun")
    assert card.get_by_text("saliency").first.is_visible()
    assert card.get_by_text("May see:").is_visible()
    assert visited.page.evaluate("document.activeElement.parentElement.id") == "card-unlearning-salun"
    visited.page.go_back()
    assert visited.page.locator("#unlearning").is_visible()


def test_an_address_leads_to_a_tab_or_a_card(visit, published):
    assert visit(published, "#attacks").page.locator("#attacks table").is_visible()
    assert visit(published, "#card-attacks-wanet").page.locator("#card-attacks-wanet pre").is_visible()
    assert visit(published, "#%E0%A4%A").page.locator("#unlearning table").is_visible()


def test_without_javascript_there_are_links_to_the_files_and_all_the_rest(visit, published):
    page = visit(published, java_script_enabled=False).page
    for view in VIEWS:
        address = page.get_by_role("link", name=view.file, exact=True).get_attribute("href")
        assert (published / address).exists()
    assert page.locator("figure svg").first.is_visible()
    assert page.locator("#card-unlearning-salun summary").is_visible()
    assert page.locator(".scripted:visible").count() == 0
