"""What a person can do to an arc's solution, as the page sends it."""

from typing import Annotated

from msgspec import Meta, Struct

from rtcal.spectrograph.fitting import HIGHEST_ORDER

Ident = int
Which = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1, max_length=1000)]


class Mask(Struct, frozen=True, forbid_unknown_fields=True, tag="mask"):
    """No fit uses these lines of a trace."""

    trace: Ident
    lines: Which


class Use(Struct, frozen=True, forbid_unknown_fields=True, tag="use"):
    """Take masks off lines; those that the fit itself leaves out, it shall use whatever they do to it."""

    trace: Ident
    lines: Which


class Name(Struct, frozen=True, forbid_unknown_fields=True, tag="name"):
    """A line has this wavelength [um]."""

    trace: Ident
    line: Annotated[int, Meta(ge=0)]
    wavelength_um: Annotated[float, Meta(gt=0.1, lt=40)]


class Unname(Struct, frozen=True, forbid_unknown_fields=True, tag="unname"):
    """These lines have no name."""

    trace: Ident
    lines: Which


class Auto(Struct, frozen=True, forbid_unknown_fields=True, tag="auto"):
    """Give the lines of which nobody said anything the names that the present fit suggests."""

    trace: Ident


class Order(Struct, frozen=True, forbid_unknown_fields=True, tag="order"):
    """Fit with this order; 0: what the lines ask for. Without a trace all are fitted anew."""

    order: Annotated[int, Meta(ge=0, le=HIGHEST_ORDER)]
    trace: Ident | None = None


class Reset(Struct, frozen=True, forbid_unknown_fields=True, tag="reset"):
    """Make a trace, or all, what they were in the file."""

    trace: Ident | None = None


class Undo(Struct, frozen=True, forbid_unknown_fields=True, tag="undo"):
    """Take the last change back."""


class Redo(Struct, frozen=True, forbid_unknown_fields=True, tag="redo"):
    """Make the change that was taken back again."""


Edit = Mask | Use | Name | Unname | Auto | Order | Reset | Undo | Redo
