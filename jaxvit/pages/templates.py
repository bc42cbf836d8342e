"""The templates of the pages: base.html, and what each kind of page puts into it."""

from functools import cache


@cache
def template(name: str):
    """The Jinja2 template of that name, of this folder; what it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("jaxvit", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
