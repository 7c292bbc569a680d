package content

import "github.com/sedge-proxy/sedge/decision"

// refuse reports the fields that an edit has and its operation does not.
func refuse(at string, e *decision.Edit, add func(string, string, ...any), allowed map[string]bool) {
	for _, f := range [...]struct{ field, value string }{
		{"select", e.Select}, {"pointer", e.Pointer}, {"text", e.Text}, {"html", e.HTML}, {"name", e.Name}, {"value", e.Value},
		{"pattern", e.Pattern}, {"json", string(e.JSON)},
	} {
		if f.value != "" && !allowed[f.field] {
			add(at+"."+f.field, "%s has no %s", e.Op, f.field)
		}
	}
}

// validateJSONEdit checks that an edit of JSON has the fields of its operation.
func validateJSONEdit(at string, e *decision.Edit, add func(string, string, ...any)) {
	allowed := map[string]bool{"pointer": true}
	switch e.Op {
	case decision.OpRemove:
		if e.Pointer == "" {
			add(at+".pointer", "missing: what to remove of the document")
		}
	case decision.OpSet, decision.OpAppend, decision.OpMerge:
		allowed["json"] = true
		if e.JSON == "" {
			add(at+".json", "missing: the value to put into the document")
		}
	case "":
		add(at+".op", "missing: what to do, in JSON one of set, remove, append, merge")
		return
	default:
		add(at+".op", "found %q, expected in JSON one of set, remove, append, merge", e.Op)
		return
	}
	refuse(at, e, add, allowed)
}

// validateTextEdit checks an edit of other text.
func validateTextEdit(at string, e *decision.Edit, add func(string, string, ...any)) {
	if e.Op != decision.OpReplaceText {
		add(at+".op", "found %q, expected in text bodies replace_text", e.Op)
		return
	}
	if e.Pattern == "" {
		add(at+".pattern", "missing: the regular expression of what is replaced")
	}
	refuse(at, e, add, map[string]bool{"pattern": true, "text": true})
}
