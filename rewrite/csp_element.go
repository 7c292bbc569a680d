package rewrite

import (
	"slices"
	"strings"
)

// elementNeeds returns what a policy has to allow of a script, style or link. text
// is nil where the element's text is not known.
func (t *policedTag) elementNeeds(text *inlineText) []need {
	switch t.name {
	case "script":
		return t.scriptNeeds(text)
	case "style":
		if kind := t.value("type"); kind == "" || foldEqual([]byte(kind), "text/css") {
			return t.inlineNeed(needStyle, text)
		}
	case "link":
		return t.linkNeeds()
	}
	return nil
}

// scriptNeeds follows https://html.spec.whatwg.org/multipage/scripting.html#prepare-the-script-element.
func (t *policedTag) scriptNeeds(text *inlineText) []need {
	switch t.scriptType() {
	case scriptData:
		return nil
	case scriptMap:
		return t.inlineNeed(needScript, text)
	}
	if src := t.attr("src"); src != nil {
		return t.fetchNeed(needScriptURL, src)
	}
	needs := t.inlineNeed(needScript, text)
	for _, name := range [...]string{"href", "xlink:href"} { // inside <svg>
		if a := t.attr(name); a != nil {
			needs = append(needs, t.fetchNeed(needScriptURL, a)...)
		}
	}
	return needs
}

type scriptType byte

const (
	scriptRuns scriptType = iota
	scriptMap             // text that browsers read, but do not fetch
	scriptData            // text that means nothing to browsers
)

var scriptTypes = []string{
	"module", "application/ecmascript", "application/javascript", "application/x-ecmascript", "application/x-javascript",
	"text/ecmascript", "text/javascript", "text/javascript1.0", "text/javascript1.1", "text/javascript1.2", "text/javascript1.3",
	"text/javascript1.4", "text/javascript1.5", "text/jscript", "text/livescript", "text/x-ecmascript", "text/x-javascript",
}

func (t *policedTag) scriptType() scriptType {
	kind := "text/javascript"
	if a := t.attr("type"); a != nil {
		if len(a.holes) > 0 {
			return scriptRuns
		}
		if a.value != "" {
			kind = lower(strings.Trim(a.value, asciiSpace))
		}
	} else if language := t.attr("language"); language != nil && language.value != "" {
		kind = "text/" + lower(language.value)
	}
	switch {
	case slices.Contains(scriptTypes, kind):
		return scriptRuns
	case kind == "importmap" || kind == "speculationrules":
		return scriptMap
	}
	return scriptData
}

// linkNeeds returns what a link fetches as a script or style.
func (t *policedTag) linkNeeds() (needs []need) {
	href, rel := t.attr("href"), t.attr("rel")
	if href == nil || rel == nil {
		return nil
	}
	as := lower(t.value("as"))
	script, style := len(rel.holes) > 0, len(rel.holes) > 0
	for word := range strings.FieldsFuncSeq(rel.value, isSpaceRune) {
		switch word = lower(word); {
		case word == "stylesheet", word == "preload" && as == "style":
			style = true
		case word == "modulepreload" && (as == "" || as == "script"), word == "preload" && as == "script":
			script = true
		}
	}
	if script {
		needs = append(needs, t.fetchNeed(needScriptURL, href)...)
	}
	if style {
		needs = append(needs, t.fetchNeed(needStyleURL, href)...)
	}
	return needs
}

// inlineNeed returns what an element with text needs; an empty one needs nothing.
func (t *policedTag) inlineNeed(kind needKind, text *inlineText) []need {
	n := t.need(kind)
	if text != nil && text.known {
		if len(text.text) == 0 {
			return nil
		}
		n.hashes, n.unicode = hashesOf(text.text), !isASCII(text.text)
	}
	return []need{n}
}

// fetchNeed returns what an address needs. Of an address with holes nothing is
// known, unless they stand where no policy looks.
func (t *policedTag) fetchNeed(kind needKind, a *policedAttr) []need {
	if a.value == "" {
		return nil
	}
	n := t.need(kind)
	if len(a.holes) == 0 || a.query >= 0 && a.holes[0] > a.query {
		n.address = parseAddress(a.value)
	}
	if integrity := t.attr("integrity"); integrity != nil && len(integrity.holes) == 0 {
		for hash := range strings.FieldsFuncSeq(integrity.value, isSpaceRune) {
			hash, _, _ = strings.Cut(hash, "?")
			if kind, value, _ := strings.Cut(hash, "-"); isHashAlgorithm(lower(kind)) && isBase64Value(value) {
				n.integrity = append(n.integrity, lower(kind)+"-"+plainBase64(value))
			}
		}
	}
	return []need{n}
}

func (t *policedTag) need(kind needKind) need {
	n := need{kind: kind, fixed: t.noNonce}
	if own := t.attr("nonce"); own != nil {
		n.fixed = true
		if !t.noNonce && len(own.holes) == 0 {
			n.nonce = own.value
		}
	}
	return n
}
