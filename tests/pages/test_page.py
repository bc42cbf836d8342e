"""The report page: what it says, that names are escaped, and that it works in a browser."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvit.pages import page as pages
from jaxvit.pages.charts import Series, make_chart, metric_charts
from jaxvit.pages.thumbnails import data_uri, reduced, within
from tests.pages.conftest import CHROMIUM, CLASSES, HOSTILE, chromium, framed, run_in

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


class Parsed(HTMLParser):
    """Tags with their attributes, and all text outside of scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self._raw = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._raw = False

    def handle_data(self, data):
        if not self._raw:
            self.text += data


@pytest.fixture(scope="module")
def parsed(page) -> Parsed:
    return Parsed(page.read_text(encoding="utf-8"))


def words(text: str) -> str:
    return " ".join(text.split())


def embedded(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_it_says_the_result_with_its_interval(parsed):
    text = words(parsed.text)
    assert "73.3 %" in text
    assert "22 of 30 right; 95 % interval 55.6 to 85.8 %" in text
    for part in ("0.500loss", "0.100calibration error", "0.700macro F1", "3classes"):
        assert part in text


def test_hostile_names_are_text_and_never_markup(page, parsed):
    text = page.read_text(encoding="utf-8")
    assert parsed.text.count(HOSTILE) > 10
    assert text.count("<script") == 2
    assert not [tag for tag, values in parsed.tags if "onerror" in values]
    assert [tag for tag, values in parsed.tags if tag == "img" and values["src"] == "x"] == []
    assert embedded(page)["classes"] == list(CLASSES)


def test_nothing_is_loaded_from_elsewhere(page, parsed):
    for tag, values in parsed.tags:
        for name in ("src", "href"):
            assert values.get(name, "data:").startswith("data:"), (tag, values)
    text = page.read_text(encoding="utf-8")
    assert "url(" not in text
    assert "http:" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text


def test_every_image_is_there_with_its_class_and_its_answer(page, scored):
    found = embedded(page)["images"]
    assert [each[1] for each in found] == list(scored.names)
    assert [each[2] for each in found] == scored.labels.tolist()
    assert [each[3] for each in found] == scored.predicted.tolist()
    np.testing.assert_allclose([each[4] for each in found], scored.confidence, atol=1e-4)
    for row in (0, 29):
        thumbnail = decoded(found[row][0])
        assert thumbnail.shape == (48, 48, 3)  # twice as large
        small = thumbnail[::2, ::2].astype(float)
        assert np.abs(small - scored.images(np.array([row]))[0]).mean() < 40


def test_the_worst_errors_come_first_and_with_their_overlay(page, scored):
    rows = pages.worst_rows(scored)
    wrong = [row for row in range(30) if scored.predicted[row] != scored.labels[row]]
    assert rows.tolist() == sorted(wrong, key=lambda row: -scored.confidence[row])
    text = page.read_text(encoding="utf-8").partition("Worst errors")[2].partition("<h2>")[0]
    assert text.count("<figure>") == len(wrong)
    assert text.count('alt="attention"') == 1  # that of row 0
    first = Parsed(text.partition("</figure>")[0]).text
    row = rows[0]
    said = f"said {CLASSES[scored.predicted[row]]} {scored.confidence[row]:.0%}".replace("%", " %")
    assert said in words(first)
    is_ = f"is {CLASSES[scored.labels[row]]} {scored.label_probability[row]:.0%}"
    assert is_.replace("%", " %") in words(first)
    assert scored.names[row] in first


def test_the_table_has_recall_and_precision_of_each_class(scored):
    rows = pages.per_class_rows(scored.confusion, CLASSES)
    for index, row in enumerate(rows):
        assert row["name"] == CLASSES[index]
        assert row["n"] == 10
        assert row["right"] == scored.confusion[index, index]
        assert row["recall"] == scored.confusion[index, index] / 10
        assert row["precision"] == pytest.approx(
            scored.confusion[index, index] / scored.confusion[:, index].sum()
        )
    assert rows[0]["taken_for"] == CLASSES[1]
    assert rows[0]["times"] == 2
    empty = pages.per_class_rows(np.array([[0, 0], [1, 2]]), ["a", "b"])
    assert [row["name"] for row in empty] == ["b"]
    assert pages.per_class_rows(np.array([[0, 1], [0, 0]]), ["a", "b"])[0]["precision"] is None


def test_where_images_are_many_errors_and_doubtful_answers_are_shown(scored, monkeypatch):
    order = pages._order(scored)
    wrong = scored.predicted != scored.labels
    assert wrong[order[:8]].all()
    assert (np.diff(scored.confidence[order[:8]]) <= 0).all()
    assert (np.diff(scored.confidence[order[8:]]) >= 0).all()
    monkeypatch.setattr(pages, "BUDGET", 20_000)
    text = pages.render_page(pages.About("few", {}, ""), scored, CLASSES)
    shown = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])["images"]
    assert 0 < len(shown) < 30
    names = {scored.names[row] for row in order[: len(shown)]}
    assert {each[1] for each in shown} == names


def test_a_page_of_thousands_of_images_and_37_classes_stays_below_five_megabytes(scored):
    rng, n = np.random.default_rng(1), 6000
    labels = rng.integers(0, 37, n)
    noise = rng.integers(0, 256, (64, 64, 3), np.uint8)
    many = scored._replace(
        names=[f"image {row}" for row in range(n)], labels=labels,
        predicted=rng.integers(0, 37, n), confidence=rng.uniform(size=n),
        label_probability=rng.uniform(size=n), images=lambda rows: [noise] * len(rows),
        confusion=rng.integers(0, 9, (37, 37)),
    )  # fmt: skip
    text = pages.render_page(
        pages.About("many", {}, "", augmented=rng.integers(0, 256, (800, 1200, 3), np.uint8)),
        many, [f"class {k}" for k in range(37)],
    )  # fmt: skip
    assert 1_000_000 < len(text) < 5_000_000


def test_of_many_classes_the_confusions_are_a_list(scored):
    confusion = np.eye(70, dtype=int) * 5
    confusion[3, 8] = 4
    text = pages.render_page(
        pages.About("many", {}, ""), scored._replace(confusion=confusion),
        [f"class {k}" for k in range(70)],
    )  # fmt: skip
    assert "matrix" not in Parsed(text.partition("Confusions")[2]).text
    listed = words(Parsed(text.partition("Confusions")[2].partition("Calibration")[0]).text)
    assert "class 3class 84" in listed
    assert "Choose a number to see its images" in listed


def test_no_image_is_left_out_whose_thumbnail_would_fit(scored):
    """What may be shown is bounded by the least length of a thumbnail."""
    assert len(data_uri(np.zeros((1, 1, 3), np.uint8))) >= pages.LEAST
    n = pages.BUDGET // pages.LEAST + 5
    many = scored._replace(
        labels=np.zeros(n, int), predicted=np.arange(n) % 2, confidence=np.linspace(0, 1, n)
    )
    rows = pages.thumbnail_rows(many)
    assert rows.tolist() == pages._order(many)[: n - 5].tolist()
    few = pages.thumbnail_rows(scored)
    assert few.tolist() == pages._order(scored).tolist()


def test_curves_have_a_point_for_every_line_and_say_its_value(lines):
    loss, accuracy, rate = metric_charts(lines)
    assert [line.name for line in loss.lines] == ["train", "validation"]
    assert [len(line.points) for line in loss.lines] == [15, 3]
    assert loss.lines[1].points[1].text == "validation: 0.1 at step 10"
    assert [line.name for line in accuracy.lines] == ["validation"]
    assert rate.title == "learning rate"
    heights = [point.y for point in accuracy.lines[0].points]
    assert heights == sorted(heights, reverse=True)  # up is less in a drawing
    assert metric_charts([]) == []


def test_a_chart_maps_its_limits_to_its_edges():
    chart = make_chart("t", "x", [Series("train", [(0, 0), (5, 0.5), (10, 1)])], (0, 1))
    places = [(point.x, point.y) for point in chart.lines[0].points]
    assert places == [(52, 186), (201, 99), (350, 12)]
    assert [tick.text for tick in chart.yticks] == ["0", "0.25", "0.5", "0.75", "1"]
    assert make_chart("t", "x", [Series("train", [(0, float("nan"))])]) is None
    flat = make_chart("t", "x", [Series("train", [(0, 2.0), (1, 2.0)])])
    assert len({point.y for point in flat.lines[0].points}) == 1
    long = make_chart("t", "x", [Series("train", [(i, i) for i in range(1001)])])
    assert len(long.lines[0].points) <= 200
    assert long.lines[0].points[-1].text == "train: 1000 at x 1000"


def test_reliability_is_accuracy_by_confidence(scored):
    chart = pages.reliability_chart(scored.bins)
    count, confidence, right = scored.bins
    expected = [
        f"validation: {r / n:.4g} at confidence {c / n:g}"
        for n, c, r in zip(count, confidence, right, strict=True) if n
    ]  # fmt: skip
    assert [point.text for point in chart.lines[1].points] == expected
    assert pages.reliability_chart((np.zeros(3), np.zeros(3), np.zeros(3))) is None


def test_thumbnails_keep_their_shape_and_their_budget():
    image = np.random.default_rng(0).integers(0, 256, (100, 50, 3), np.uint8)
    assert decoded(data_uri(image, 64)).shape == (64, 32, 3)
    assert decoded(data_uri(image[:8, :8, :1], 64)).shape == (64, 64, 3)
    assert reduced(image, 64).shape == (64, 32, 3)
    assert reduced(image, 128) is image
    size = len(data_uri(image, 64))
    found = list(within([(4, image), (2, image), (9, image)], 64, 2 * size))
    assert [row for row, _ in found] == [4, 2]


@in_a_browser
def test_it_works_in_a_browser_without_an_error_or_a_request(page, scored, tmp_path):
    script = """
      const heads = [...document.querySelectorAll('#classes th')];
      const column = k => [...document.querySelectorAll('#classes tbody tr')]
        .map(row => row.cells[k].textContent);
      result.start = column(0);
      heads[3].firstElementChild.click(); result.up = column(3);
      result.sorted = heads[3].getAttribute('aria-sort');
      heads[3].firstElementChild.click(); result.down = column(3);
      heads[0].firstElementChild.click(); result.names = column(0);
      const cell = [...document.querySelectorAll('.matrix button')]
        .find(each => each.dataset.i === '0' && each.dataset.j === '1');
      cell.click();
      result.cell = cell.textContent;
      result.chosen = document.querySelector('#chosen p').textContent;
      result.images = [...document.querySelectorAll('#chosen img')].map(each => each.alt);
      result.buttons = document.querySelectorAll('.matrix button').length;
      result.hover = document.querySelector('svg circle title').textContent;
      result.title = document.title;
      result.wide = document.documentElement.scrollWidth <= window.innerWidth;
      result.width = window.innerWidth;
      result.resources = performance.getEntriesByType('resource')
        .map(each => each.name).filter(name => !name.startsWith('data:'));
    """
    for width in (390, 1280):
        found, log = run_in(page, script, tmp_path, width=width)
        assert found["errors"] == []
        assert "CONSOLE" not in log
        assert found["resources"] == []
        assert found["width"] == width
        assert found["wide"], width  # the page itself does not scroll sideways
        assert found["start"] == list(CLASSES)
        assert found["up"] == sorted(found["up"])
        assert found["sorted"] == "ascending"
        assert found["down"] == found["up"][::-1]
        assert sorted(found["names"]) == sorted(CLASSES)
        assert found["cell"] == "2"
        assert found["chosen"] == f"{CLASSES[0]}, said {CLASSES[1]}: 2 image(s)"
        assert found["images"] == [scored.names[0], scored.names[1]]
        assert found["buttons"] == np.count_nonzero(scored.confusion)
        assert found["title"] == HOSTILE
        assert "train: 2 at step 1" in found["hover"]


@in_a_browser
def test_a_row_of_the_list_of_confusions_shows_its_images(scored, tmp_path):
    names = [*CLASSES, *(f"class {k}" for k in range(3, 70))]
    confusion = np.pad(scored.confusion, (0, 67))
    path = tmp_path / "many.html"
    about = pages.About("many", {}, "")
    path.write_text(pages.render_page(about, scored._replace(confusion=confusion), names))
    script = """
      const rows = [...document.querySelectorAll('#confusions button')];
      const row = rows.find(each => each.dataset.i === '0' && each.dataset.j === '1');
      row.click();
      result.rows = rows.length;
      result.chosen = document.querySelector('#chosen p').textContent;
      result.images = [...document.querySelectorAll('#chosen img')].map(each => each.alt);
    """
    found, _ = run_in(path, script, tmp_path)
    assert found["errors"] == []
    wrong = scored.confusion - np.diag(np.diag(scored.confusion))
    assert found["rows"] == np.count_nonzero(wrong)
    assert found["chosen"] == f"{CLASSES[0]}, said {CLASSES[1]}: 2 image(s)"
    assert found["images"] == [scored.names[0], scored.names[1]]


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_drawn_at_the_width_of_a_telephone_and_of_a_desk(page, tmp_path, width):
    file = tmp_path / "shot.png"
    shown = framed(page, width)
    chromium(f"--window-size={width},1000", f"--screenshot={file}", shown.as_uri())
    drawn = np.asarray(Image.open(file).convert("RGB"))
    assert drawn.shape[:2] == (1000, width)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100


@in_a_browser
@pytest.mark.parametrize(
    ("scheme", "background"), [("light", range(200, 256)), ("dark", range(56))]
)
def test_its_words_stand_out_from_what_is_behind_them(scored, tmp_path, scheme, background):
    """The contrast of WCAG 2.2 (1.4.3): (L + .05) / (L' + .05) of luminances is 4.5 or more."""
    page = tmp_path / "page.html"
    confusion = np.array([[10, 0, 0], [10, 0, 0], [0, 4, 6]])  # shares up to 1
    text = pages.render_page(
        pages.About("t", {"Configuration": [("seed", 3)]}, "python"),
        scored._replace(confusion=confusion), CLASSES,
    )  # fmt: skip
    page.write_text(text, encoding="utf-8")
    script = """
      const rgba = text => [...text.matchAll(/[\\d.]+/g)].map(Number);
      const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
      const luminance = color => [.2126, .7152, .0722]
        .reduce((sum, weight, k) => sum + weight * linear(color[k] / 255), 0);
      const behind = element => {
        if (!element) return [255, 255, 255];
        const [r, g, b, alpha = 1] = rgba(getComputedStyle(element).backgroundColor);
        if (alpha === 1) return [r, g, b];
        const below = behind(element.parentElement);
        return [r, g, b].map((value, k) => alpha * value + (1 - alpha) * below[k]);
      };
      result.background = behind(document.body);
      result.words = 0; result.poor = [];
      for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(
          node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
        if (!own || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
        if (!element.checkVisibility() || element.closest('svg')) continue;
        result.words++;
        const pair = [rgba(getComputedStyle(element).color), behind(element)].map(luminance);
        const contrast = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
        if (contrast < 4.5) result.poor.push(`${element.outerHTML.slice(0, 60)} ${contrast}`);
      }
    """
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    found, _ = run_in(page, script, tmp_path, preferred)
    assert found["errors"] == []
    assert all(value in background for value in found["background"])
    assert found["words"] > 30
    assert found["poor"] == []


def test_each_error_is_shown_by_its_own_image(page, scored):
    text = page.read_text(encoding="utf-8").partition("Worst errors")[2].partition("<h2>")[0]
    uris = re.findall(r'<img src="(data:[^"]+)" alt="">', text)
    for uri, row in zip(uris, pages.worst_rows(scored), strict=True):
        small = decoded(uri)[2::5, 2::5].astype(float)  # 24 pixels, five times as large
        # Of another image about 85 apart.
        assert np.abs(small - scored.images(np.array([row]))[0]).mean() < 50


def test_a_metric_below_0_is_drawn_at_its_height():
    lines = [{"step": s, "val/uniformity": v, "val/loss": 3 + v} for s, v in ((1, -2.5), (2, -1.5))]
    for chart in metric_charts(lines, ("uniformity", "loss")):
        first, second = chart.lines[0].points
        assert first.y > second.y  # down is more in a drawing
