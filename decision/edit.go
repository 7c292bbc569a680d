package decision

import (
	"bytes"
	"encoding/json"
)

// Op is what an edit does with each element that its selector matches.
type Op string

// The operations of an [Edit].
const (
	OpBefore          Op = "before"           // insert in front of the element
	OpAfter           Op = "after"            // insert behind the element
	OpPrepend         Op = "prepend"          // insert as the element's first content
	OpAppend          Op = "append"           // insert as the element's last content
	OpReplace         Op = "replace"          // put the content in the place of the element
	OpSetInner        Op = "set_inner"        // replace the element's content
	OpRemove          Op = "remove"           // remove the element with its content
	OpUnwrap          Op = "unwrap"           // remove the element, keep its content
	OpSetAttribute    Op = "set_attribute"    // set attribute Name to Value
	OpRemoveAttribute Op = "remove_attribute" // remove attribute Name
	OpAddClass        Op = "add_class"        // add the class Value
	OpRemoveClass     Op = "remove_class"     // remove the class Value
	OpReplaceText     Op = "replace_text"     // replace what Pattern matches in the text inside the element
)

// The operations on JSON bodies, beside [OpRemove] and [OpAppend].
const (
	OpSet   Op = "set"   // put JSON in the place of the value, or add the member
	OpMerge Op = "merge" // merge JSON into the value (RFC 7396)
)

// Body is the kind of body that an edit is for.
type Body string

// The kinds of bodies.
const (
	BodyHTML Body = "html"
	BodyJSON Body = "json" // application/json and all types that end in +json
	BodyText Body = "text" // other text: text/plain, CSS, scripts, XML
)

// Edit changes the elements of a page that a CSS selector matches, the value of a
// JSON body that a JSON Pointer names, or the text of another body.
//
// Operations that insert content take exactly one of Text, which is escaped, and
// HTML, which is inserted as it stands. The attribute operations take Name and
// Value; the class operations take Value; replace_text takes Pattern, and Text or
// HTML as what stands in the place of what it matches.
//
// In JSON bodies the operations are set, remove, append and merge, at Pointer and,
// but for remove, with JSON. In other text it is replace_text, with Pattern and Text.
//
// Text, HTML and the Value of set_attribute may hold slots, which are filled for
// each visitor: {{trait "name" "fallback"}}, {{attribute "name" "fallback"}} and
// {{segment "fallback"}}; in the edits of a plugin also {{offer "name" "fallback"}}, a
// value of the plugin's answer. {{"{{"}} writes a literal "{{".
type Edit struct {
	// Body is the kind of body that the edit is for: html, json or text. Without it
	// an edit with a pointer is for JSON and every other one for HTML.
	Body Body `json:"body,omitempty" mapstructure:"body"`

	// Select is a CSS selector.
	Select string `json:"select,omitempty" mapstructure:"select"`

	// Pointer is a JSON Pointer (RFC 6901); "" is the whole document.
	Pointer string `json:"pointer,omitempty" mapstructure:"pointer"`

	// Op is one of before, after, prepend, append, replace, set_inner, remove,
	// unwrap, set_attribute, remove_attribute, add_class, remove_class and
	// replace_text; in JSON one of set, remove, append and merge.
	Op Op `json:"op" mapstructure:"op"`

	// Text is content that is escaped.
	Text string `json:"text,omitempty" mapstructure:"text"`

	// HTML is content that is inserted as it stands. Its scripts and styles get the
	// nonce of the page's Content-Security-Policy; where that forbids them, the edit
	// is left out.
	HTML string `json:"html,omitempty" mapstructure:"html"`

	// Name is the attribute's.
	Name string `json:"name,omitempty" mapstructure:"name"`

	// Value is the attribute's, or the class.
	Value string `json:"value,omitempty" mapstructure:"value"`

	// Pattern is the regular expression (RE2) of replace_text. In Text and HTML,
	// $1 and ${name} stand for its groups and $$ for a dollar sign.
	Pattern string `json:"pattern,omitempty" mapstructure:"pattern"`

	// JSON is the value that set, append and merge put into a JSON body.
	JSON JSON `json:"json,omitempty" mapstructure:"-"`

	// Required makes the page depend on the edit: where it matches nothing, the
	// page goes out as it came, without any edit of its plan; so it does where the
	// page's Content-Security-Policy forbids the edit.
	Required bool `json:"required,omitempty" mapstructure:"required"`
}

// Kind returns the kind of body that the edit is for.
func (e *Edit) Kind() Body {
	switch {
	case e.Body != "":
		return e.Body
	case e.Pointer != "":
		return BodyJSON
	}
	return BodyHTML
}

// JSON is the text of one JSON value; "" is none. Two values are the same if they
// are written the same.
type JSON string

// MarshalJSON writes the value as it is.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == "" {
		return []byte("null"), nil
	}
	return []byte(j), nil
}

// UnmarshalJSON takes the value without the white space around its parts.
func (j *JSON) UnmarshalJSON(text []byte) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	*j = JSON(compact.String())
	return nil
}

// Action is what a plugin wants done with the request itself. The zero Action
// asks for nothing.
type Action struct {
	// Redirect sends the visitor to this URL (with Status 302, 303 or 307, 302
	// when zero) and ends the request.
	Redirect string `json:"redirect,omitempty"`
	Status   int    `json:"status,omitempty"`

	// Path makes the origin answer for another path; the visitor's address bar
	// does not change.
	Path string `json:"path,omitempty"`

	// Headers are added to the request to the origin, as name and value.
	Headers [][2]string `json:"headers,omitempty"`
}

// IsZero reports whether the action asks for nothing.
func (a *Action) IsZero() bool {
	return a.Redirect == "" && a.Status == 0 && a.Path == "" && len(a.Headers) == 0
}
