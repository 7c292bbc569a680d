package rewrite

import (
	"bytes"
	"strings"
)

// quirkyPublic holds how the public identifiers of doctypes begin that put a page
// in quirks mode (https://html.spec.whatwg.org/multipage/parsing.html#the-initial-insertion-mode).
var quirkyPublic = strings.Split(`+//silmaril//dtd html pro v0r11 19970101//
-//as//dtd html 3.0 aswedit + extensions//
-//advasoft ltd//dtd html 3.0 aswedit + extensions//
-//ietf//dtd html
-//metrius//dtd metrius presentational//
-//microsoft//dtd internet explorer
-//netscape comm. corp.//dtd
-//o'reilly and associates//dtd html
-//sq//dtd html 2.0 hotmetal + extensions//
-//softquad software//dtd hotmetal pro
-//softquad//dtd hotmetal pro
-//spyglass//dtd html 2.0 extended//
-//sun microsystems corp.//dtd hotjava
-//w3c//dtd html 3 1995-03-24//
-//w3c//dtd html 3.2
-//w3c//dtd html 4.0 frameset//
-//w3c//dtd html 4.0 transitional//
-//w3c//dtd html experimental
-//w3c//dtd w3 html
-//w3o//dtd w3 html 3.0//
-//webtechs//dtd mozilla html
-/w3c/dtd html 4.0 transitional/en`, "\n")

// quirky reports whether a doctype, in lower case, puts the page in quirks mode.
func quirky(token []byte) bool {
	name, rest := word(token[len("<!doctype") : len(token)-1])
	if string(name) != "html" {
		return true
	}
	keyword, _ := word(rest)
	if string(keyword) != "public" && !bytes.HasPrefix(keyword, []byte("public\"")) && !bytes.HasPrefix(keyword, []byte("public'")) {
		return bytes.Contains(token, []byte("http://www.ibm.com/data/dtd/v11/ibmxhtml1-transitional.dtd"))
	}
	public := bytes.TrimSpace(token[bytes.Index(token, []byte("public"))+len("public") : len(token)-1])
	if len(public) == 0 || public[0] != '"' && public[0] != '\'' {
		return true
	}
	end := bytes.IndexByte(public[1:], public[0])
	if end < 0 {
		return true
	}
	id, system := public[1:1+end], bytes.TrimSpace(public[2+end:])
	switch string(id) {
	case "html", "-//w3o//dtd w3 html strict 3.0//en//":
		return true
	}
	for _, prefix := range quirkyPublic {
		if bytes.HasPrefix(id, []byte(prefix)) {
			return true
		}
	}
	old := bytes.HasPrefix(id, []byte("-//w3c//dtd html 4.01 frameset//")) || bytes.HasPrefix(id, []byte("-//w3c//dtd html 4.01 transitional//"))
	return old && len(system) == 0
}

// word returns the first word of b and what follows it.
func word(b []byte) (first, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r\n\f")
	end := bytes.IndexAny(b, " \t\r\n\f")
	if end < 0 {
		return b, nil
	}
	return b[:end], b[end:]
}
