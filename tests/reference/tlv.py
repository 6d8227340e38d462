"""Strict DER elements on asn1crypto.parser: what asn1crypto reads is taken only if it would write the same bytes."""

from typing import NamedTuple

from asn1crypto import core, parser

from _fastocsp.wire.errors import MalformedRequest

UNIVERSAL, CONTEXT = 0, 2
PRIMITIVE, CONSTRUCTED = 0, 1


class Element(NamedTuple):
    """One element: (class, method, tag number), content bytes, and the whole."""

    kind: tuple[int, int, int]
    content: bytes
    der: bytes


SEQUENCE = (UNIVERSAL, CONSTRUCTED, 16)
BOOLEAN = (UNIVERSAL, PRIMITIVE, 1)
INTEGER = (UNIVERSAL, PRIMITIVE, 2)
BIT_STRING = (UNIVERSAL, PRIMITIVE, 3)
OCTET_STRING = (UNIVERSAL, PRIMITIVE, 4)
NULL = (UNIVERSAL, PRIMITIVE, 5)
OID = (UNIVERSAL, PRIMITIVE, 6)


def explicit(number: int) -> tuple[int, int, int]:
    """The kind of an explicit context tag."""
    return (CONTEXT, CONSTRUCTED, number)


def require(condition: bool, what: str = "not DER") -> None:
    """Raise MalformedRequest unless the condition holds."""
    if not condition:
        raise MalformedRequest(what)


def split(octets: bytes) -> list[Element]:
    """All elements that stand one after the other."""
    elements = []
    while octets:
        try:
            class_, method, tag, header, content, _ = parser.parse(octets)
        except ValueError as error:
            raise MalformedRequest(str(error)) from error
        require(tag < 31 and octets.startswith(parser.emit(class_, method, tag, content)))
        der = header + content
        elements.append(Element((class_, method, tag), content, der))
        octets = octets[len(der) :]
    return elements


def only(octets: bytes, kind: tuple[int, int, int]) -> Element:
    """The one element in the bytes, which is of this kind."""
    elements = split(octets)
    require(len(elements) == 1 and elements[0].kind == kind)
    return elements[0]


def integer(element: Element) -> int:
    """The number, if these are its fewest bytes."""
    require(element.kind == INTEGER and element.content != b"")
    number = int(core.Integer.load(element.der).native)
    require(core.Integer(number).contents == element.content)
    return number


def dotted(element: Element) -> str:
    """The object identifier, if these are its fewest bytes."""
    require(element.kind == OID and element.content != b"")
    oid = str(core.ObjectIdentifier.load(element.der).dotted)
    require(oid.count(".") >= 1 and core.ObjectIdentifier(oid).contents == element.content)
    return oid
