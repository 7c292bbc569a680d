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

// quirky reports whether a doctype puts the page in quirks mode.
func quirky(token []byte) bool {
	text := strings.ToLower(string(token[len("<!doctype") : len(token)-1]))
	name, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if name != "html" {
		return true
	}
	rest = strings.TrimSpace(rest)
	public, isPublic := strings.CutPrefix(rest, "public")
	if !isPublic {
		return strings.Contains(rest, "http://www.ibm.com/data/dtd/v11/ibmxhtml1-transitional.dtd")
	}
	public = strings.TrimSpace(public)
	if public == "" || public[0] != '"' && public[0] != '\'' {
		return true
	}
	end := strings.IndexByte(public[1:], public[0])
	if end < 0 {
		return true
	}
	id, system := public[1:1+end], strings.TrimSpace(public[2+end:])
	switch id {
	case "html", "-//w3o//dtd w3 html strict 3.0//en//":
		return true
	}
	for _, prefix := range quirkyPublic {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	old := strings.HasPrefix(id, "-//w3c//dtd html 4.01 frameset//") || strings.HasPrefix(id, "-//w3c//dtd html 4.01 transitional//")
	return old && system == ""
}

// plainDoctype is the doctype of nearly all pages, checked without a copy.
func plainDoctype(token []byte) bool {
	return len(token) == len("<!doctype html>") && bytes.EqualFold(token, []byte("<!doctype html>"))
}
