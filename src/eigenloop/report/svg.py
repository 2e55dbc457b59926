"""SVG made safe to inline: nothing runs, nothing loads, no name clashes with another drawing."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup

_SVG = "http://www.w3.org/2000/svg"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_SHAPES = frozenset(
    {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "image", "use"}
)
_TEXTS = frozenset({"text", "tspan", "textPath"})
_GROUPS = frozenset({"svg", "g", "defs", "symbol", "style", "clipPath", "mask", "marker"})
_PAINTS = frozenset({"pattern", "linearGradient", "radialGradient", "stop"})
_DRAWING = _SHAPES | _TEXTS | _GROUPS | _PAINTS
_DROPPED = frozenset({"metadata", "title", "desc"})
_NAME = r"[A-Za-z_][\w:.-]*"
_LOCAL_URL = re.compile(rf"""url\(\s*(["']?)#({_NAME})\1\s*\)""", re.IGNORECASE)
_CSS_LOADS = re.compile(r"url\(|image\(|image-set\(|src\(|@|\\|expression\(", re.IGNORECASE)
_CSS_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_SELECTOR = re.compile(r"[\w\s.#*>+~-]+")
_INLINE_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
_ROOT_STYLE = re.compile(r"(fill|stroke|font|color|background|text|shape)[\w-]*\s*:")
_LENGTH = re.compile(r"([\d.]+)\s*(px|pt|pc|in|cm|mm)?")
_PIXELS = {
    "": 1.0,
    "px": 1.0,
    "pt": 4 / 3,
    "pc": 16.0,
    "in": 96.0,
    "cm": 96 / 2.54,
    "mm": 96 / 25.4,
}
_MAX_DEPTH = 100


def inline_svg(source: str, *, prefix: str) -> Markup:
    """Check a drawing and make it inlinable in a page that holds others.

    Every id, class and reference gets the prefix, style rules are confined to the drawing, and the
    size becomes a `viewBox` with the natural width in the CSS variable `--width`, so that the page
    decides how wide it is drawn. Titles, metadata and attributes of other vocabularies are dropped.

    Args:
        source: SVG text, as Matplotlib's `savefig(..., format="svg")` writes it.
        prefix: letters, digits and underscores, unique in the page.

    Returns:
        The `<svg>` element as HTML markup, without XML declaration.

    Raises:
        ValueError: if the text is not SVG, or holds scripts, event handlers, foreign content or
            references to anything outside it.

    Example:
        >>> drawing = '<svg viewBox="0 0 9 9"><path id="a" d="M 0 0 9 9"/></svg>'
        >>> print(*inline_svg(drawing, prefix="one").split("><"))
        <svg viewBox="0 0 9 9" id="one" style="--width:9px" path id="one_a" d="M 0 0 9 9" / /svg>
    """
    if "<!ENTITY" in source:
        raise ValueError("SVG declares an XML entity; save it without a document type")
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError as error:
        raise ValueError(f"SVG is not well-formed XML: {error}") from error
    if _local(root.tag) != "svg":
        raise ValueError(f"SVG starts with <{root.tag}> instead of <svg>")
    for element in _walk(root):
        _clean_element(element, prefix)
    _fit_root(root, prefix)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _walk(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Every element that stays, parents first; children that do not are removed on the way."""
    stack = [(root, 1)]
    while stack:
        element, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"SVG is nested more than {_MAX_DEPTH} elements deep")
        for child in list(element):
            if _local(child.tag) in _DROPPED:
                element.remove(child)
        stack.extend((child, depth + 1) for child in element)
        yield element


def _local(tag: str) -> str:
    """The name of an SVG element; a name of another vocabulary stays as it is and matches none
    of ours.
    """
    return tag.removeprefix(f"{{{_SVG}}}")


def _clean_element(element: ElementTree.Element, prefix: str) -> None:
    name = _local(element.tag)
    if name not in _DRAWING:
        raise ValueError(f"SVG holds <{name}>, which a report does not inline; remove it")
    element.tag = name
    element.attrib = dict(_clean_attributes(element, prefix))
    if name == "style":
        if len(element):
            raise ValueError("SVG holds a <style> with elements in it; remove them")
        element.text = _clean_stylesheet(element.text or "", prefix)
    elif name not in _TEXTS:
        element.text = None
        for child in element:
            child.tail = None


def _clean_attributes(element: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    for name, raw in element.attrib.items():
        value = " ".join(raw.split())
        if name.lower().startswith("on"):
            raise ValueError(
                f"SVG has an event handler, {name}={_short(value)}, on <{element.tag}>; remove it"
            )
        if name in {"href", _XLINK_HREF}:
            yield "href", _clean_reference(element.tag, value, prefix)
        elif name.startswith("{"):
            continue
        elif name == "id":
            yield name, f"{prefix}_{value}"
        elif name == "class":
            yield name, " ".join(f"{prefix}_{word}" for word in value.split())
        elif name in {"aria-labelledby", "aria-describedby"}:
            continue
        else:
            yield name, _clean_css(value, prefix)


def _clean_reference(tag: str, value: str, prefix: str) -> str:
    if value.startswith("#"):
        return f"#{prefix}_{value[1:]}"
    if tag == "image" and _INLINE_IMAGE.fullmatch(value):
        return value
    raise ValueError(
        f"SVG refers to {_short(value)} from <{tag}>; only #ids and, in <image>, inlined pictures"
        " can stay"
    )


def _clean_css(value: str, prefix: str) -> str:
    """Prefix local url(#id) references; refuse whatever else in CSS could load something."""
    unresolved = _CSS_LOADS.search(_LOCAL_URL.sub("", value))
    if unresolved:
        raise ValueError(f"SVG has {unresolved[0]!r} in {_short(value)}; only url(#id) can stay")
    return _LOCAL_URL.sub(lambda match: f"url(#{prefix}_{match[2]})", value)


def _clean_stylesheet(text: str, prefix: str) -> str:
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    rest = _CSS_RULE.sub("", text).strip()
    if rest:
        raise ValueError(f"SVG has {_short(rest)} in <style>, which is not a plain rule; remove it")
    rules = []
    for selectors, declarations in _CSS_RULE.findall(text):
        confined = ", ".join(
            _confine(selector.strip(), prefix) for selector in selectors.split(",")
        )
        rules.append(f"{confined} {{{_clean_css(declarations.strip(), prefix)}}}")
    return " ".join(rules)


def _confine(selector: str, prefix: str) -> str:
    """Make a selector match inside this drawing only, without changing its specificity."""
    if not _SELECTOR.fullmatch(selector):
        raise ValueError(
            f"SVG has the style selector {_short(selector)}; use element, class and id selectors"
            " only"
        )
    renamed = re.sub(r"([.#])(?=[A-Za-z_])", rf"\1{prefix}_", selector)
    return f"{renamed}:where(#{prefix}, #{prefix} *)"


def _fit_root(root: ElementTree.Element, prefix: str) -> None:
    """Give the root its id and natural width; take away what would fix its size or place on the
    page.
    """
    width, height = (_pixels(root.attrib.pop(name, "")) for name in ("width", "height"))
    if "viewBox" not in root.attrib:
        if not (width and height):
            raise ValueError(
                "SVG has neither a viewBox nor a width and height; it cannot be scaled"
            )
        root.set("viewBox", f"0 0 {width:g} {height:g}")
    box = root.attrib["viewBox"].replace(",", " ").split()
    try:
        numbers = [float(number) for number in box]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not (numbers[2] > 0 and numbers[3] > 0):
        raise ValueError(
            f"SVG has viewBox={_short(root.attrib['viewBox'])}; it needs four numbers, the last two"
            " positive"
        )
    declarations = [part.strip() for part in root.attrib.pop("style", "").split(";")]
    kept = [part for part in declarations if _ROOT_STYLE.match(part)]
    for name in ("x", "y"):
        root.attrib.pop(name, None)
    root.set("id", prefix)
    root.set("style", ";".join([*kept, f"--width:{width or numbers[2]:g}px"]))


def _pixels(length: str) -> float:
    """A length in CSS pixels; 0 where it is absent or relative."""
    match = _LENGTH.fullmatch(length.strip())
    return float(match[1]) * _PIXELS[match[2] or ""] if match else 0.0


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
