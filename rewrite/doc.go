// Package rewrite changes HTML pages, and JSON and other text, while they pass
// through.
//
// Edits are compiled once ([Compile]) and then applied to any number of pages by
// pooled rewriters ([Program.NewRewriter]). A rewriter is an [io.Writer]: bytes go
// in in chunks of any size and leave as soon as no edit can change them any more.
// Bytes that no edit touches leave exactly as they came; nothing is parsed into a
// tree and printed again.
//
// A page takes this way:
//
//   - the scanner finds tags, and knows where "<" is no tag: in comments, scripts,
//     titles, CDATA and the other kinds of text that HTML has;
//   - the open elements are kept on a stack that follows the rules of the HTML
//     standard for implied and misplaced tags, so that "ul > li" means what it
//     means in a browser, also where nobody wrote </li>;
//   - each element is matched against all selectors at once: the parts of all
//     selectors are looked up by id, class, attribute and element name, and what
//     the ancestors matched is kept as bits beside the stack, so the cost depends
//     neither on the number of selectors nor on the depth of the page;
//   - the edits of a matched element are applied in their order.
//
// A page that is needed more than once is scanned once ([CompilePage]). The matches
// of any program are then found by the names of its elements, and the edited page
// is a list of ranges ([Page.Splice]): bytes, matches and conflicts are those that
// a rewriter with the same limits would give, in any case.
//
// # Order of edits
//
// The edits of one element are applied in the order of the slice given to
// [Compile], each as the DOM would do it after the one before:
//
//   - before: the later edit stands nearer to the element (A, B, element);
//   - after: likewise (element, B, A);
//   - prepend: the later edit stands first (B, A, content);
//   - append: the later edit stands last (content, A, B);
//   - set_inner drops what earlier edits put into the element; later prepends and
//     appends go around the new content;
//   - replace and remove take the element away with all that edits put into it,
//     whatever their order; what before and after insert stays. Of several
//     replacements the last one stands; a remove does not remove a replacement;
//   - unwrap takes away the two tags; with replace or remove it has no effect;
//   - attribute and class edits work on the tag that the edits before them left;
//   - replace_text works on each piece of text between two tags or comments inside
//     the element, once, however many of its elements the text stands in; each edit
//     searches what the edits before it left of the page's own text.
//
// The order is that of the slice whichever experiences the edits belong to. Where
// an edit of one experience hides an edit of another, [Rewriter.Conflicts] says so,
// and [Program.Conflicts] where that is sure without a page.
//
// # Text
//
// replace_text searches text as it is meant: character references are resolved,
// line ends are line feeds, and on a page in a known single-byte character set
// characters are decoded. What it does not match stays as it is written. A match
// that begins or ends inside a reference takes all of the reference. A "<" that
// stands directly in front of a match is written as a reference, so that it begins no
// tag with what comes to stand behind it. In HTML the groups of a pattern may stand
// where slots may, but in no code: they are text of the page, which anybody may have
// written. Text is what stands among elements and in title and textarea, not in
// scripts, styles, comments, CDATA sections, attributes and templates. A piece of text
// is held until its end is known. The cost is linear in the text: a pattern without a
// bound on what it matches stops in a page when it has looked at 16 MiB and 64 times
// the page's text.
//
// # Required edits
//
// A program with required edits that are applied holds the page back until each of
// them has matched, at most up to Limits.Memory bytes of the page and four times as
// many of the output. If they have not all matched by then, or at the end, or where
// the page stops being understood, the whole page goes out as it came.
//
// Edits inside content that an outer edit takes away have no effect, and inserted
// content is never matched. Matches are counted in all these cases.
//
// # Slots
//
// Content may hold slots, as in {{trait "first_name" "there"}}, which are filled with
// the visitor's values ([Limits].Values, in the order of [Program.Slots]). Edits share
// a trait, an attribute and the segment; {{offer "name" "fallback"}} is each edit's own
// ([Slot].Edit), since its value came with the answer that the edit came with. How a
// value is escaped is decided when the edit is compiled, by a walk over its HTML; a
// slot where nothing would make a value safe is an [EditError]. Neither the page nor
// values are looked at for slots. A page that was filled is not for anybody else:
// [Rewriter.Template] cuts the values out of it, and fills in others later.
//
// # Content-Security-Policy
//
// Scripts and styles that edits insert are subject to the page's policies: those of
// the answer's headers ([Limits].Policy, made by [ParsePolicy]) and those of a <meta>
// in its head, from where that stands. What an edit needs is found when it is
// compiled: inline scripts and styles, scripts and stylesheets from elsewhere with
// their preloads, event handlers, style attributes and javascript: addresses; also a
// changed src, type and the like of a script or link of the page, and text put into
// its scripts. The policies then decide for each edit:
//
//   - they allow it as it is: by address, hash, 'unsafe-inline' or a nonce that it
//     has itself;
//   - they allow it with a nonce of theirs: each tag that needs it gets the nonce, if
//     all policies accept the same one. A script or style into which replace_text
//     puts text of the page gets none;
//   - they forbid it: the edit has no effect there, its matches are counted, and
//     [Rewriter.Blocked] names it with the directive. A required edit that is
//     forbidden leaves the page as it came, unless the page had begun to leave: a
//     <meta> may stand behind the first match.
//
// No policy is ever changed. A <meta> with one cannot be taken away, nor its content
// changed; it stays where an edit takes its surroundings away. But a head ends at
// content that does not belong in one: behind such content browsers pass over a <meta>
// with a policy, so edits of a head are for what a head may hold. A report-only policy
// forbids nothing. Images, frames, fonts and what styles import are left to the
// browser, as are the documents in srcdoc, policies that edits insert themselves, and
// text that is put into a script by a selector that does not name scripts in a
// program that needs no policy otherwise. A script in SVG is compared with hashes as
// if it stood in HTML.
//
// # JSON
//
// Edits of JSON bodies ([Program.NewJSONEditor]) name their place by a JSON Pointer
// (RFC 6901). They mean the same as if each was applied, in the order of the slice,
// to the whole document that the one before it left; the document is passed over
// once all the same, and no value of it is held (see the comment of jsonProgram):
//
//   - set replaces the value, or adds a member at the end of its object; in an
//     array an index replaces an item, and "-", or the array's length, adds one;
//   - remove takes a member or item away with one comma; the items behind it move up;
//   - append adds one item to an array, and does nothing to any other value;
//   - merge merges a patch into a value that is there (RFC 7396).
//
// Where the way to a place ends earlier nothing happens. What no edit touches stays
// as it is written: white space, the order of members, the spelling of numbers and
// strings. Names are compared by what their escapes mean. Of several members with
// one name all are edited, since parsers differ in which of them counts. What edits
// match is counted in the document as it came: a place that only an earlier edit
// makes is no match. A slot in a value stands inside a string and is escaped for it.
//
// The document is UTF-8. Behind a mistake, names that are no UTF-8, values nested
// deeper than Limits.Depth, more white space between two values than Limits.Memory,
// and at a second document, as in lines of JSON, the rest passes through unchanged.
//
// # Other text
//
// In other text ([Program.NewTextEditor]) replace_text replaces what a pattern
// matches, each edit in what the ones before it left of the text. The body is held
// up to its end, at most up to Limits.Memory. It is in UTF-8 or in a single-byte
// character set; a replacement that the set does not have is left out. Nothing is
// escaped, so there are no slots. Matches are counted in the text as it came.
//
// # What is an element
//
// Elements that the standard implies without a tag (html, head, body, tbody, tr,
// colgroup) are elements like others: "body > p" matches without a <body> tag, and
// content is inserted where the element begins and ends. Edits of attributes do
// not match them: there is no tag to work on. In a page without a doctype, which
// may be a part of a page that a script asked for, no edit matches an implied
// html, head or body.
//
// The content of <template> is not part of the document and is not matched; nor
// is that of <noscript>, which is text in a browser that runs scripts. A second
// <html>, <head> or <body> and a form inside a form are no elements either.
//
// An element without an end tag ends where the standard ends it: before the tag
// that implies its end, or at the end of the page. <body> and <html> end at their
// end tags. If the page ends inside a comment, a script or another kind of raw
// text, nothing can be inserted there any more, and nothing is.
//
// Known differences to a browser's tree, which a stream cannot avoid: formatting
// elements closed in the wrong order (<b><p></b></p>) end at their end tag and are
// not reopened. Table parts outside a table are elements in a page without a
// doctype.
//
// # Character sets
//
// Inserted content is UTF-8 on a page in UTF-8. On a page in a single-byte
// character set that browsers know its characters are written in that set if it has
// them. Others, and all beyond ASCII as long as the character set is not known, are
// written as numeric character references; inside script and style, where
// references mean nothing, such content is left out. Selectors compare bytes: a
// class beyond ASCII matches on pages in UTF-8 only. See [Editable] and [Encoding].
//
// # Limits
//
// Where HTML cannot be understood within the limits, or means different things to
// different browsers, the rest of the page passes through unchanged and
// [Rewriter.Bailed] says why. A page's content never leads to an error.
package rewrite
