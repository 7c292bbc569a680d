package rewrite

import (
	"encoding/json"
	"html/template"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sedge-proxy/sedge/decision"
)

// slotCases are payloads and contexts, which the browser's tests in e2e share.
type slotCases struct {
	Payloads []string
	Contexts []struct{ Name, HTML string }
}

func readSlotCases(t testing.TB) (c slotCases) {
	t.Helper()
	file, err := os.ReadFile("testdata/slots.json")
	if err == nil {
		err = json.Unmarshal(file, &c)
	}
	if err != nil || len(c.Payloads) < 60 || len(c.Contexts) < 20 {
		t.Fatalf("%v, %d payloads, %d contexts", err, len(c.Payloads), len(c.Contexts))
	}
	return c
}

// structure writes the tree of a page without what may differ by a value: texts
// and attribute values are only said to be there.
func structure(t testing.TB, page string) string {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch n.Type {
		case html.ElementNode:
			b.WriteString("<" + n.Namespace + ":" + n.Data)
			for _, a := range n.Attr {
				b.WriteString(" " + a.Namespace + ":" + a.Key)
			}
			b.WriteString(">")
		case html.CommentNode:
			b.WriteString("<!-- " + n.Data + " -->")
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
		if n.Type == html.ElementNode {
			b.WriteString("</>")
		}
	}
	walk(doc)
	return b.String()
}

const slotPage = `<!doctype html><html><body><p id="a">x</p><p id="z">end</p></body></html>`

// No value changes what a page is made of, wherever it stands.
func TestSlotInjectionLeavesTheStructure(t *testing.T) {
	cases := readSlotCases(t)
	for i, c := range cases.Contexts {
		if i%2 == 0 { // whatever the kind of slot, the place decides
			c.HTML = strings.ReplaceAll(c.HTML, "{{trait ", "{{offer ")
		}
		for _, op := range []decision.Op{decision.OpBefore, decision.OpAppend, decision.OpReplace} {
			e := decision.Edit{Select: "#a", Op: op, HTML: c.HTML}
			harmless, _ := fillPage(t, e, slotPage, "harmless")
			want := structure(t, harmless)
			for _, payload := range cases.Payloads {
				got, _ := fillPage(t, e, slotPage, payload)
				if is := structure(t, got); is != want {
					t.Errorf("%s, %s, %.80q:\n got %s\nwant %s\npage %s", c.Name, op, payload, is, want, got)
				}
				if strings.Contains(strings.ToLower(got), "javascript:") && (strings.Contains(c.Name, "address") || c.Name == "form" || c.Name == "svg link") {
					t.Errorf("%s, %.80q: %s", c.Name, payload, got)
				}
			}
		}
	}
	for _, name := range []string{"title", "href", "data-x", "srcset", "alt"} {
		e := decision.Edit{Select: "#a", Op: decision.OpSetAttribute, Name: name, Value: slot}
		harmless, _ := fillPage(t, e, slotPage, "harmless")
		want := structure(t, harmless)
		for _, payload := range cases.Payloads {
			if got, _ := fillPage(t, e, slotPage, payload); structure(t, got) != want {
				t.Errorf("%s=%.80q: %s", name, payload, got)
			}
		}
	}
}

// values returns what a browser makes of a page's texts and attributes.
func values(t testing.TB, page string) (all []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			all = append(all, n.Data)
		}
		for _, a := range n.Attr {
			all = append(all, a.Val)
		}
	}
	return all
}

// Text and plain attributes mean what html/template makes of the same template, to
// the character.
func TestSlotsAgainstTemplate(t *testing.T) {
	cases := readSlotCases(t)
	for _, c := range []string{
		"<b>Hi %s!</b>", `<b title="a %s z">x</b>`, "<b title='%s'>x</b>", `<input value="%s">`, "<textarea>-%s</textarea>", `<a href="%s">x</a>`, `<a href="/?q=%s">x</a>`, `<img src='%s'>`,
	} {
		oracle := template.Must(template.New("").Parse("<!doctype html><html><body><p>" + strings.ReplaceAll(c, "%s", "{{.}}") + "</p></body></html>"))
		for _, payload := range cases.Payloads {
			if payload == "" || strings.Contains(payload, "{{") {
				continue // a fallback, and a template's braces, are our own
			}
			payload = cleanSlotValue(payload)
			var want strings.Builder
			if err := oracle.Execute(&want, payload); err != nil {
				t.Fatal(err)
			}
			got, _ := fillPage(t, decision.Edit{Select: "p", Op: decision.OpSetInner, HTML: strings.ReplaceAll(c, "%s", slot)}, "<!doctype html><html><body><p></p></body></html>", payload)
			ours, theirs := values(t, got), values(t, strings.ReplaceAll(want.String(), "#ZgotmplZ", "#"))
			a, b := strings.ToLower(strings.Join(ours, "\n")), strings.ToLower(strings.Join(theirs, "\n"))
			if a != b {
				t.Errorf("%s with %.60q:\n    ours %.200q\n  theirs %.200q", c, payload, a, b)
			}
		}
	}
}

// Whatever template is taken, html/template takes it too, or knows less than we do.
func FuzzSlots(f *testing.F) {
	cases := readSlotCases(f)
	for i, c := range cases.Contexts {
		f.Add(c.HTML, cases.Payloads[i%len(cases.Payloads)])
	}
	f.Add(`<a href="{{offer "link"}}" title='{{offer "title" "x"}}'>{{offer "text" ""}}</a>`, `"><script>`)
	f.Add(`{{"{{"}} <svg><style>a{b:"`+slot+`"}</style>`, "'")
	f.Fuzz(func(t *testing.T, content, value string) {
		if len(content) > 4096 || len(value) > 4096 || value == "" {
			return
		}
		e := decision.Edit{Select: "p", Op: decision.OpSetInner, HTML: content}
		p, err := Compile(planned(e))
		if (err == nil) != (Check(e) == nil) {
			t.Fatalf("Check and Compile differ: %v", err)
		}
		if err != nil || len(p.Slots()) == 0 {
			return
		}
		harmless, _ := fillPage(t, e, slotFuzzPage, "harmless")
		filled, _ := fillPage(t, e, slotFuzzPage, value)
		if got, want := structure(t, filled), structure(t, harmless); got != want {
			t.Fatalf("%q with %q:\n got %s\nwant %s", content, value, got, want)
		}
		svg, _ := fillPage(t, e, "<svg>"+slotFuzzPage+"</svg>", value)
		plain, _ := fillPage(t, e, "<svg>"+slotFuzzPage+"</svg>", "harmless")
		if got, want := structure(t, svg), structure(t, plain); got != want {
			t.Fatalf("%q with %q in svg:\n got %s\nwant %s", content, value, got, want)
		}
	})
}

const slotFuzzPage = `<p>x</p>`

func FuzzSlotEscapes(f *testing.F) {
	for _, payload := range readSlotCases(f).Payloads {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, value string) {
		value = cleanSlotValue(value)
		if len(value) > MaxSlotValue+3*MaxSlotValue {
			t.Fatalf("%d bytes", len(value))
		}
		for escape := escapeHTML; escape <= escapeStyle; escape++ {
			for _, utf8Page := range []bool{false, true} {
				got := string(appendSlot(nil, escape, value, utf8Page, false))
				if strings.ContainsAny(got, "<>\"'`\x00") || !utf8Page && !isASCII([]byte(got)) {
					t.Errorf("escape %d: %q", escape, got)
				}
				if (escape == escapeScript || escape == escapeStyle) && strings.ContainsAny(got, "&\n\r\u2028\u2029/") {
					t.Errorf("escape %d: %q", escape, got)
				}
			}
		}
		var back string
		if err := json.Unmarshal([]byte(`"`+string(appendSlot(nil, escapeScript, value, true, false))+`"`), &back); err != nil || back != value {
			t.Errorf("%q came back as %q: %v", value, back, err)
		}
		if got := html.UnescapeString(string(appendSlot(nil, escapeHTML, value, false, true))); got != value && !strings.Contains(value, "{{") {
			t.Errorf("%q reads %q", value, got)
		}
	})
}
