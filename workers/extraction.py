"""From blocks to proposals: chunks, telling terms, and candidates with their confidence. Pure and deterministic.

Evidence for a candidate comes from the text's own structure: it is a heading, it is defined (a definition
list, an emphasised term before a colon, a sentence "X is a …"), it is used more tellingly than other words
(TF-IDF over the chunks of the run), other documents speak of it too. Each piece of evidence is worth a chance
p that a candidate with this piece alone is worth keeping, and independent pieces add up: confidence = 1 -
(1-p)(1-q)… So 0.5 is a lone heading or a strong term, 0.6 a lone definition, and over 0.8 takes several kinds
of evidence.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from workers.formats import Block
from workers.formats.blocks import LABELS, is_term
from workers.vocabulary import SIGNPOSTS, STOP

CHUNK_WORDS = 200
PER_DOCUMENT, LEAST_CONFIDENCE = 20, 0.25  # proposals: at most so many, the most confident, and none below
BODY_LIMIT = 600  # characters of the text quoted
HEADING, HEADING_STEP, HEADING_LEAST = 0.55, 0.07, 0.3  # by level
DEFINED, DEFINING_SENTENCE = 0.6, 0.4
TERM_LEAST, TERM_MOST = 0.1, 0.5  # from a term that just qualifies to the most telling one of the run
LONGEST_WORD = 40  # characters; what is longer is no word
PHRASE_WORDS, PER_WORD = 3, 0.5  # longest term; what each word more adds to its score
COVERED = 0.7  # a term is dropped when a longer one holds this share of its uses
ELSEWHERE, ELSEWHERE_COUNTED = 0.1, 3  # for each other document that speaks of it, at most three

WORD = re.compile(r"[^\W\d_](?:[\w'\u2019-]*\w)?")
BREAK = re.compile(r"[.,;:!?=]+(?:\s|$)|[/\\<>\u201c\u201d]|\s[\u2013\u2014-]\s|[()\[\]{}\"|]")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\s\da-z])")
NUMBERING = re.compile(
    r"^(?:(?:chapter|section|part|step)\s+)?(?:\d+(?:\.\d+)*[.):]?|[IVXA-H][IVX]*[.):])\s+", re.IGNORECASE
)
ASIDE = re.compile(r"\s*\([^()]{0,200}\)\s*:?$")
DEFINES = re.compile(
    r"^(?:(?:An?|The|In \w+, an?)\s+)?(?P<term>[^\W\d_][\w'\u2019-]*(?:\s[^\W\d_][\w'\u2019-]*){0,3})\s+"
    r"(?:is|are|means|refers to|stands for)\s+(?P<text>(?:an?|the|any|one|how|what|every)\s.+)$"
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of document number ``document``: ``blocks`` under the headings ``path``, beginning on ``line``."""

    document: int
    path: tuple[str, ...]
    line: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document, by number, speaks of ``title``, and in what manner."""

    document: int
    title: str
    line: int
    path: tuple[str, ...]
    found_as: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something the documents are about. ``text`` says what it is, in the document's own words; ``also`` counts the
    other documents that speak of it."""

    place: Place
    text: str
    confidence: float
    also: int

    @property
    def title(self) -> str:
        return self.place.title

    def body(self, name: str, unit: str = "line") -> str:
        """The proposal's body; ``name`` is the document's, ``unit`` what its places count."""
        place = self.place
        under = f", under \u201c{' > '.join(place.path)}\u201d" if place.path else ""
        also = f" Also in {self.also} other document{'s' if self.also > 1 else ''}." if self.also else ""
        return f"{self.text}\n\nFound as {place.found_as} in {name}, {unit} {place.line}{under}.{also}".lstrip()


@dataclass(slots=True)
class _Evidence:
    """All that speaks for one title: the best piece of each kind. The strongest of all gives title, place and text."""

    chances: dict[str, float] = field(default_factory=dict)
    place: Place | None = None
    text: str = ""

    def add(self, kind: str, chance: float, place: Place, text: str) -> None:
        if chance > max(self.chances.values(), default=0.0):
            self.place, self.text = place, text or self.text
        self.text = self.text or text
        self.chances[kind] = max(chance, self.chances.get(kind, 0.0))

    def confidence(self, also: int) -> float:
        doubt = math.prod(1 - chance for chance in self.chances.values())
        if self.chances.keys() != {"term"}:  # of a word by itself it only says that the word is common
            doubt *= (1 - ELSEWHERE) ** min(also, ELSEWHERE_COUNTED)
        return 1 - doubt


def chunk(document: int, blocks: Iterable[Block]) -> list[Chunk]:
    """The chunks of a document: what stands under one heading, cut at blocks where it is longer than CHUNK_WORDS."""
    chunks: list[Chunk] = []
    path: list[tuple[int, str]] = []
    current: list[Block] = []

    def close() -> None:
        if current:
            chunks.append(Chunk(document, tuple(text for _, text in path), current[0].line, tuple(current)))
            current.clear()

    for block in blocks:
        if block.kind == "heading":
            close()
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, block.text))
        elif current and sum(len(each.text.split()) for each in current) + len(block.text.split()) > CHUNK_WORDS:
            close()
        current.append(block)
    close()
    return chunks


class Extraction:
    """Candidates from the chunks of a run: `add` each chunk, then ask for `candidates` once."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._total: Counter[str] = Counter()
        self._in_chunks: Counter[str] = Counter()
        self._evidence: defaultdict[str, _Evidence] = defaultdict(_Evidence)

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        counted = Counter(key(said) for said in phrases(chunk))
        self._total.update(counted)
        self._in_chunks.update(counted.keys())
        for kind, chance, place, text in _structure(chunk):
            self._evidence[key(place.title)].add(kind, chance, place, text)

    def candidates(self) -> list[Candidate]:
        """Up to PER_DOCUMENT for each document, in the order of the documents, the most confident first."""
        telling = self._telling()
        uses = self._uses(telling.keys() | self._evidence.keys())
        self._add_terms(telling, uses)
        found: defaultdict[int, list[Candidate]] = defaultdict(list)
        for term, evidence in self._evidence.items():
            if evidence.place is None:
                continue
            place = evidence.place
            also = len(uses[term].documents.keys() - {place.document}) if term in uses else 0
            confidence = round(evidence.confidence(also), 3)
            if confidence >= LEAST_CONFIDENCE:
                found[place.document].append(Candidate(place, _shorten(evidence.text), confidence, also))
        kept = []
        for document in sorted(found):
            ranked = sorted(found[document], key=lambda each: (-each.confidence, each.place.line, each.place.title))
            kept += ranked[:PER_DOCUMENT]
        return kept

    def _telling(self) -> dict[str, float]:
        """The terms worth a look, each with its weight from 0 to 1 (the most telling of the run): how often it is used,
        times how few chunks use it."""
        number = len(self._chunks)
        scores: dict[str, float] = {}
        for term, count in self._total.items():
            length = term.count(" ") + 1
            if count < (3 if length == 1 else 2) or (length == 1 and len(term) < 4):
                continue
            rarity = math.log((1 + number) / self._in_chunks[term])  # log 1 + 1/n in the only chunk there is
            scores[term] = (1 + math.log(count)) * rarity * (1 + PER_WORD * (length - 1))
        for term in list(scores):  # "change" says nothing that "change log" does not, where it comes in that alone
            for part in _parts(term):
                if part in scores and self._total[term] >= COVERED * self._total[part]:
                    del scores[part]
        most = max(scores.values(), default=1.0)
        return {term: score / most for term, score in scores.items()}

    def _uses(self, terms: AbstractSet[str]) -> dict[str, "_Uses"]:
        """Where each of ``terms`` is used and how it is written."""
        uses: dict[str, _Uses] = {}
        for chunk in self._chunks:
            for said in phrases(chunk):
                if (term := key(said)) in terms:
                    uses.setdefault(term, _Uses()).add(said, chunk)
        return uses

    def _add_terms(self, telling: dict[str, float], uses: dict[str, "_Uses"]) -> None:
        for term, weight in telling.items():
            use = uses[term]
            home = max(use.documents, key=lambda document: (use.documents[document], -document))
            chunk = use.first[home]
            title = max(use.spellings, key=lambda spelling: (use.spellings[spelling], spelling))
            if title.isalpha() and title.islower() and term not in self._evidence:
                continue  # a common word by itself names nothing, however telling
            line, sentence = _sentence_with(term, chunk)
            place = Place(home, title, line, chunk.path, "a telling term")
            self._evidence[term].add("term", TERM_LEAST + (TERM_MOST - TERM_LEAST) * weight, place, sentence)


@dataclass(slots=True)
class _Uses:
    documents: Counter[int] = field(default_factory=Counter)
    first: dict[int, Chunk] = field(default_factory=dict)
    spellings: Counter[str] = field(default_factory=Counter)

    def add(self, said: str, chunk: Chunk) -> None:
        self.documents[chunk.document] += 1
        self.first.setdefault(chunk.document, chunk)
        self.spellings[said] += 1


def key(title: str) -> str:
    """What two spellings of one thing share: no case, no plural s."""
    term = " ".join(title.casefold().replace("\u2019", "'").split())
    if len(term) > 4 and term.endswith("s") and not term.endswith(("ss", "us", "is")):
        term = term[:-1]
    return term


def phrases(chunk: Chunk) -> Iterator[str]:
    """Every run of up to three words, none of them a stop word, as written."""
    for block in chunk.blocks:
        for segment in BREAK.split(f"{block.term}. {block.text}" if block.term else block.text):
            run: list[str] = []
            for word in WORD.findall(segment):
                if not 1 < len(word) <= LONGEST_WORD or word.casefold().replace("\u2019", "'") in STOP:
                    run.clear()
                    continue
                run.append(word)
                for length in range(1, min(len(run), PHRASE_WORDS) + 1):
                    if len(set(run[-length:])) == length:
                        yield " ".join(run[-length:])


def _parts(term: str) -> Iterator[str]:
    split = term.split()
    for length in range(1, len(split)):
        for start in range(len(split) - length + 1):
            yield " ".join(split[start : start + length])


def _structure(chunk: Chunk) -> Iterator[tuple[str, float, Place, str]]:
    """The evidence in the structure of ``chunk``: kind, chance, place, and the text that says what it is."""
    for at, block in enumerate(chunk.blocks):
        if block.kind == "heading":
            title = ASIDE.sub("", NUMBERING.sub("", block.text)).strip(" :")
            if is_term(title) and not _is_signpost(title):
                chance = max(HEADING - HEADING_STEP * (block.level - 1), HEADING_LEAST)
                below = next((each.text for each in chunk.blocks[at + 1 :] if each.kind != "heading"), "")
                place = Place(chunk.document, title, block.line, chunk.path[:-1], "a heading")
                yield "heading", chance, place, below
        elif block.kind == "definition":
            place = Place(chunk.document, block.term, block.line, chunk.path, "a definition")
            yield "definition", DEFINED, place, block.text
        elif (defines := DEFINES.match(SENTENCE_END.split(block.text)[0])) and not _is_pointer(defines["term"]):
            place = Place(chunk.document, defines["term"], block.line, chunk.path, "a defining sentence")
            yield "definition", DEFINING_SENTENCE, place, defines[0]


def _is_signpost(title: str) -> bool:
    told = [word.casefold() for word in WORD.findall(title)]
    return all(word in SIGNPOSTS or word in STOP for word in told)


def _is_pointer(term: str) -> bool:
    """True for "This", "There", "What it does": subjects that name nothing."""
    told = [word.casefold() for word in term.split()]
    return told[0] in STOP or told[-1] in STOP or " ".join(told) in LABELS


def _sentence_with(term: str, chunk: Chunk) -> tuple[int, str]:
    """The line of the first block of ``chunk`` that has ``term``, and the sentence with it."""
    for block in chunk.blocks:
        for sentence in SENTENCE_END.split(block.text):
            if term in key(sentence) or term in sentence.casefold():
                return block.line, sentence if block.kind != "heading" else ""
    return chunk.line, ""


def _shorten(text: str) -> str:
    return text if len(text) <= BODY_LIMIT else text[:BODY_LIMIT].rsplit(" ", 1)[0] + " …"
