package rewrite

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

var drawnNames = []string{"a", "b", "c", "0", "1", "-", "é", "x/y", "m~n", ""}

// drawJSON draws a value as somebody might write it.
func drawJSON(t *rapid.T, b *strings.Builder, depth int, loose bool) {
	space := func() {
		if loose {
			b.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "  "}).Draw(t, "space"))
		}
	}
	space()
	defer space()
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 {
		kind = 0
	}
	switch {
	case kind < 3:
		b.WriteString(rapid.SampledFrom([]string{"1", "-0.5e+3", "null", "true", `"x"`, `"\u00e9\n"`, `"é"`, "{}", "[]", `"{"`, `"]\""`}).Draw(t, "scalar"))
	case kind < 5:
		b.WriteByte('[')
		for i := range rapid.IntRange(0, 4).Draw(t, "items") {
			if i > 0 {
				b.WriteByte(',')
			}
			drawJSON(t, b, depth-1, loose)
		}
		b.WriteByte(']')
	default:
		b.WriteByte('{')
		for i, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(drawnNames), 0, 4, rapid.ID[string]).Draw(t, "names") {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			if loose && rapid.Bool().Draw(t, "escaped") {
				b.WriteString(escapedName(name))
			} else {
				fmt.Fprintf(b, "%q", name)
			}
			space()
			b.WriteByte(':')
			drawJSON(t, b, depth-1, loose)
		}
		b.WriteByte('}')
	}
}

func escapedName(name string) string {
	var b strings.Builder
	for _, c := range name {
		fmt.Fprintf(&b, `\u%04x`, c)
	}
	return `"` + b.String() + `"`
}

func drawValue(t *rapid.T, depth int, loose bool) string {
	var b strings.Builder
	drawJSON(t, &b, depth, loose)
	return b.String()
}

func drawJSONEdit(t *rapid.T) decision.Edit {
	e := decision.Edit{Body: decision.BodyJSON}
	for range rapid.IntRange(0, 3).Draw(t, "parts") {
		part := rapid.SampledFrom(append([]string{"2", "3", "01"}, drawnNames...)).Draw(t, "part")
		e.Pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
	}
	e.Op = rapid.SampledFrom([]decision.Op{decision.OpSet, decision.OpRemove, decision.OpAppend, decision.OpMerge}).Draw(t, "op")
	if e.Op == decision.OpRemove && e.Pointer == "" {
		e.Op = decision.OpMerge
	}
	if e.Op != decision.OpRemove {
		e.JSON = decision.JSON(drawValue(t, 3, false))
	}
	return e
}

// TestJSONMeansEditsOneByOne holds the editor equal to edits that are applied one
// after the other to a document in memory, for any document, edits and chunks.
func TestJSONMeansEditsOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawValue(t, 4, true)
		edits := rapid.SliceOfN(rapid.Custom(drawJSONEdit), 0, 5).Draw(t, "edits")
		list := planned(edits...)
		program, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		whole := editJSON(t, program, doc, Limits{}, nil)
		want := parseOrdered(t, doc)
		for i, e := range edits {
			own := parseOrdered(t, doc)
			count := 0
			if editOrdered(t, &own, e) {
				count = 1
			}
			if whole.matches[i].Count != count {
				t.Fatalf("%v matches %d times in %q, want %d", e, whole.matches[i].Count, doc, count)
			}
			editOrdered(t, &want, e)
		}
		if got := compact(t, whole.out); got != want.String() || whole.bailed != NotBailed {
			t.Fatalf("%v\nof   %s\ngot  %s\nwant %s (%s)", edits, doc, got, want, whole.bailed)
		}
		for name, size := range chunkings(rapid.Uint64().Draw(t, "seed")) {
			if got := editJSON(t, program, doc, Limits{}, size); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%v\nof %s\nin chunks (%s): got %+v, want %+v", edits, doc, name, got, whole)
			}
		}
		for i := range list {
			list[i].Apply = false
		}
		if program, err = Compile(list); err != nil {
			t.Fatal(err)
		}
		got := editJSON(t, program, doc, Limits{}, nil)
		if got.out != doc {
			t.Fatalf("without an edit %q became %q", doc, got.out)
		}
		for i := range edits {
			if got.matches[i].Count != whole.matches[i].Count || got.matches[i].First != whole.matches[i].First {
				t.Fatalf("%v of %q: applied %+v, matched only %+v", edits[i], doc, whole.matches[i], got.matches[i])
			}
		}
	})
}

// TestJSONLimitsDoNotDependOnChunks draws limits that documents reach.
func TestJSONLimitsDoNotDependOnChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawValue(t, 4, true)
		if rapid.Bool().Draw(t, "broken") {
			at := rapid.IntRange(0, len(doc)-1).Draw(t, "at")
			rest := doc[at:]
			if rapid.Bool().Draw(t, "cut off") {
				rest = ""
			}
			doc = doc[:at] + rapid.SampledFrom([]string{"", ",", "}", "\"", "\\", "\x01", "\xff", "7", "          "}).Draw(t, "junk") + rest
		}
		list := planned(rapid.SliceOfN(rapid.Custom(drawJSONEdit), 0, 3).Draw(t, "edits")...)
		for i := range list {
			list[i].Required = rapid.IntRange(0, 3).Draw(t, "required") == 0
		}
		program, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		limits := Limits{Memory: decision.Size(rapid.IntRange(1, 30).Draw(t, "memory")), Depth: rapid.IntRange(1, 4).Draw(t, "depth")}
		whole := editJSON(t, program, doc, limits, nil)
		if whole.bailed == BailedRequired && whole.out != doc {
			t.Fatalf("%q is not untouched: %q", doc, whole.out)
		}
		if isJSON(doc) && !isJSON(whole.out) {
			t.Fatalf("%v\nbroke %s\ninto  %s (%s)", list, doc, whole.out, whole.bailed)
		}
		for i := range list {
			list[i].Apply = false
		}
		same, err := Compile(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := editJSON(t, same, doc, limits, nil); got.out != doc {
			t.Fatalf("without an edit %q became %q", doc, got.out)
		}
		for name, size := range chunkings(rapid.Uint64().Draw(t, "seed")) {
			if got := editJSON(t, program, doc, limits, size); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%v\nof %q %+v\nin chunks (%s): got %+v, want %+v", list, doc, limits, name, got, whole)
			}
		}
	})
}

func isJSON(doc string) bool { return json.Valid([]byte(doc)) }
