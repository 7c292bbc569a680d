package rewrite

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

var seedDocuments = []string{
	`{"a":1,"b":[1,2,{"c":null}],"\u0061":{"d":"\"\\"}}`,
	"\ufeff [ 1.5e+3 , -0 , true,\n[],{} ] ",
	`{"a":{"b":{"c":[[[]]]}}} {"a":1}`,
	`{"a" 1}`, `[1,]`, `{"a":"\ud83d\u12"}`, "", "[[[[[[[[[", `"x`, "-", "nul", `{"a":1 , "b`, `[1 ,`,
}

// FuzzJSON edits any bytes, whole and in chunks: what comes out is the same, a
// document stays one, and nothing changes where no edit has its place.
func FuzzJSON(f *testing.F) {
	for i, doc := range seedDocuments {
		f.Add(doc, "/a", `{"x":1}`, uint8(i), uint64(i))
		f.Add(doc, "/b/2/c", "null", uint8(i), uint64(i))
	}
	ops := []decision.Op{decision.OpSet, decision.OpRemove, decision.OpAppend, decision.OpMerge}
	f.Fuzz(func(t *testing.T, doc, pointer, value string, op uint8, seed uint64) {
		e := decision.Edit{Body: decision.BodyJSON, Pointer: pointer, Op: ops[int(op)%len(ops)]}
		if e.Op != decision.OpRemove {
			e.JSON = decision.JSON(value)
		}
		edits := planned(e, jsonEdit(t, "remove /a/b"), jsonEdit(t, "set /-: [1]"), jsonEdit(t, `merge /b: {"c":null}`))
		program, err := Compile(edits)
		if err != nil {
			return
		}
		limits := Limits{Memory: decision.Size(8 + seed%200), Depth: 2 + int(seed%50)}
		whole := editJSON(t, program, doc, limits, nil)
		random := rand.New(rand.NewPCG(seed, 2))
		for range 3 {
			if got := editJSON(t, program, doc, limits, func() int { return 1 + random.IntN(1+len(doc)/2) }); fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Fatalf("%q in chunks: %+v, whole %+v", doc, got, whole)
			}
		}
		if json.Valid([]byte(doc)) && !json.Valid([]byte(whole.out)) {
			t.Fatalf("%q became %q (%s)", doc, whole.out, whole.bailed)
		}
		valid := json.Valid([]byte(strings.TrimPrefix(doc, byteOrderMark)))
		broken := whole.bailed == BailedSyntax || whole.bailed == BailedTrailing
		shallow := strings.Count(doc, "[")+strings.Count(doc, "{") <= limits.Depth // what is deep and removed is not looked at
		if valid && broken || !valid && whole.bailed == NotBailed && shallow {
			t.Fatalf("%q: bailed %q", doc, whole.bailed)
		}
		matched := 0
		for i := range edits {
			matched += whole.matches[i].Count
			edits[i].Apply = false
		}
		if program, err = Compile(edits); err != nil {
			t.Fatal(err)
		}
		if got := editJSON(t, program, doc, limits, nil); got.out != doc {
			t.Fatalf("%q changed to %q without an applied edit", doc, got.out)
		}
		if matched == 0 && whole.out != doc {
			t.Fatalf("%q changed to %q without a match", doc, whole.out)
		}
	})
}

// FuzzPointer reads pointers: what is accepted leads to its place, what is refused
// says where.
func FuzzPointer(f *testing.F) {
	for _, s := range []string{"", "/", "/a/0/-", "/a~0b~1c", "/~", "a", "//", "/\u00e9\x00", "/\xff", "/01/+1/18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts, err := parsePointer(s)
		if err != nil {
			var e *EditError
			if !errors.As(err, &e) || e.Message == "" || e.Column < 0 || e.Column > utf8.RuneCountInString(s)+1 {
				t.Fatalf("%q: got %v", s, err)
			}
			return
		}
		written := ""
		doc := "1"
		for i := range parts {
			written += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(parts[i])
			doc = "{" + quoteName(parts[len(parts)-1-i]) + ":" + doc + "}"
		}
		if written != s {
			t.Fatalf("%q was read as %q", s, written)
		}
		program := compile(t, decision.Edit{Body: decision.BodyJSON, Pointer: s, Op: decision.OpSet, JSON: "2"})
		got := editJSON(t, program, doc, Limits{}, nil)
		if want := strings.Replace(doc, ":1}", ":2}", 1); s != "" && (got.matches[0].Count != 1 || got.out != want) {
			t.Fatalf("%q did not find its place in %q: %+v", s, doc, got)
		}
	})
}
