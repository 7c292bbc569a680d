package rewrite

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
)

type jsonCase struct {
	doc   string
	edits string // one on each line
	want  string
}

func runJSONCases(t *testing.T, cases map[string]jsonCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			program := compile(t, jsonEdits(t, c.edits)...)
			whole := editJSON(t, program, c.doc, Limits{}, nil)
			if whole.out != c.want || whole.bailed != NotBailed {
				t.Errorf("%s\nof   %s\ngot  %s (%s)\nwant %s", c.edits, c.doc, whole.out, whole.bailed, c.want)
			}
			sameInChunks(t, program, c.doc, Limits{}, whole)
		})
	}
}

func TestJSONOperations(t *testing.T) {
	const pretty = "{\n  \"a\": 1,\n  \"b\": [1, 2],\n  \"c\": {}\n}\n"
	runJSONCases(t, map[string]jsonCase{
		"set":                      {`{"a": 1, "b":2}`, "set /a: {\"x\":[]}", `{"a": {"x":[]}, "b":2}`},
		"set adds":                 {pretty, "set /d: 7", "{\n  \"a\": 1,\n  \"b\": [1, 2],\n  \"c\": {},\"d\":7\n}\n"},
		"set adds to nothing":      {`{ }`, "set /d: 7", `{"d":7 }`},
		"set adds in order":        {`{"b":1}`, "set /z: 1\nset /b: 2\nset /y: 3", `{"b":2,"z":1,"y":3}`},
		"set without parent":       {`{"a":1}`, "set /b/c: 1\nset /a/c: 1", `{"a":1}`},
		"set the document":         {` [1] `, "set '': {}", ` {} `},
		"set an item":              {`[1, 2, 3]`, "set /1: \"x\"", `[1, "x", 3]`},
		"set behind the last":      {`[1, 2]`, "set /2: 3", `[1, 2,3]`},
		"set further behind":       {`[1, 2]`, "set /3: 3", `[1, 2]`},
		"set at the end":           {`[1, 2]`, "set /-: 3", `[1, 2,3]`},
		"set in an empty array":    {`[ ]`, "set /0: 3", `[3 ]`},
		"no index":                 {`[1, 2]`, "set /01: 3\nset /+1: 3\nset /-1: 3\nset /1.0: 3\nset /4294967297: 3", `[1, 2]`},
		"an index is a name":       {`{"01":1}`, "set /01: 3\nset /-: 4", `{"01":3,"-":4}`},
		"remove":                   {pretty, "remove /b", "{\n  \"a\": 1,\n  \"c\": {}\n}\n"},
		"remove first":             {pretty, "remove /a", "{\n  \"b\": [1, 2],\n  \"c\": {}\n}\n"},
		"remove last":              {pretty, "remove /c", "{\n  \"a\": 1,\n  \"b\": [1, 2]\n}\n"},
		"remove the only one":      {`{ "a" : 1 }`, "remove /a", `{ }`},
		"remove all":               {`{"a":1 , "b":2 , "c":3}`, "remove /a\nremove /b\nremove /c", `{}`},
		"remove and add":           {`{"a":1, "b":2}`, "remove /a\nremove /b\nset /c: 3", `{"c":3}`},
		"remove and set again":     {`{"a":1, "b":2}`, "remove /a\nset /a: 3", `{"b":2,"a":3}`},
		"remove items":             {`[0, 1, 2, 3, 4]`, "remove /1\nremove /1\nremove /0\nset /1: \"four\"", `[3, "four"]`},
		"spaces stay":              {"[ 1 , 2\t,\n3 ]", "remove /1", "[ 1 \t,\n3 ]"},
		"append":                   {`{"a":[1 ] }`, "append /a: [2]\nappend /a: 3", `{"a":[1,[2],3 ] }`},
		"append to none":           {`{"a":{},"b":"x"}`, "append /a: 1\nappend /b: 1\nappend /c: 1", `{"a":{},"b":"x"}`},
		"append then set":          {`[[1]]`, "append /0: {}\nset /0/1/x: 2\nset /0/0: 3\nset /0/2: 4\nremove /0/1", `[[3,4]]`},
		"merge":                    {`{"a":1, "b":{"x":1, "y":2}, "c":[1]}`, `merge '': {"a":null,"b":{"y":null,"z":{"q":null,"r":1}},"c":{"d":1},"e":{"f":null}}`, `{"b":{"x":1,"z":{"r":1}}, "c":{"d":1},"e":{}}`},
		"merge a scalar":           {`{"a":{"b":1}}`, "merge /a: 5", `{"a":5}`},
		"merge null":               {`{"a":{"b":1}}`, "merge /a: null", `{"a":null}`},
		"merge into nothing":       {`{"a":1}`, `merge /b: {"x":1}`, `{"a":1}`},
		"merge nested adds":        {`{"a":{}}`, `merge '': {"a":{"b":{"c":null}}}`, `{"a":{"b":{}}}`},
		"inside what is set":       {`{"a":1}`, "set /a: {\"b\":[1]}\nappend /a/b: 2\nset /a/c: 3\nremove /a/d", `{"a":{"b":[1,2],"c":3}}`},
		"inside what is added":     {`{}`, "set /a: {\"b\":[1]}\nappend /a/b: 2\nset /a/b/0: 0", `{"a":{"b":[0,2]}}`},
		"inside what is removed":   {`{"a":{"b":1},"c":1}`, "remove /a\nset /a/b: 2", `{"c":1}`},
		"before it is set":         {`{"a":{"b":1}}`, "set /a/b: 2\nset /a/c: 3\nset /a: 4", `{"a":4}`},
		"escaped names":            {`{"\u0061":1,"a\/b":2,"~":3,"\ud83d\ude00":4,"\n":5}`, "set /a: 0\nset /a~1b: 0\nset /~0: 0\nset /😀: 0\nset /\\n: 0", `{"\u0061":0,"a\/b":0,"~":0,"\ud83d\ude00":0,"\n":5,"\\n":0}`},
		"halves of pairs":          {`{"\ud83d":1,"\ufffd":2}`, "set /\ufffd: 0", `{"\ud83d":1,"\ufffd":0}`},
		"empty name":               {`{"":{"":1}}`, "set //: 2", `{"":{"":2}}`},
		"everything else stays":    {"\t{ \"a\" :1.50E+2 ,\"b\":\"\\u00e9\\/\" , \"c\" : [ true,null ] }\r\n", "set /d: 1", "\t{ \"a\" :1.50E+2 ,\"b\":\"\\u00e9\\/\" , \"c\" : [ true,null ],\"d\":1 }\r\n"},
		"byte order mark":          {"\ufeff{\"a\":1}", "set /a: 2", "\ufeff{\"a\":2}"},
		"a number at the end":      {`17`, "set '': 18", `18`},
		"values are compact":       {`{"a":1}`, "set /a: { \"x\" : [ 1 , 2 ] , \"y\" : \"a b\" }", `{"a":{"x":[1,2],"y":"a b"}}`},
		"items of different kinds": {`[{"x":1},[1],5]`, "set /0/x: 2\nset /1/0: 2\nset /2/x: 2", `[{"x":2},[2],5]`},
	})
}

// TestJSONDuplicateNames: parsers in browsers take the last of several members of a
// name, others the first. All are edited, so that it means the same to each of them.
func TestJSONDuplicateNames(t *testing.T) {
	runJSONCases(t, map[string]jsonCase{
		"set":    {`{"a":1,"b":2,"\u0061":{"c":3}}`, "set /a: 0", `{"a":0,"b":2,"\u0061":0}`},
		"remove": {`{"a":1,"b":2,"a":3}`, "remove /a", `{"b":2}`},
		"below":  {`{"a":{"x":1},"a":{"x":2}}`, "set /a/x: 0\nset /a/y: 1", `{"a":{"x":0,"y":1},"a":{"x":0,"y":1}}`},
		"again":  {`{"a":1,"a":3}`, "remove /a\nset /a: 0", `{"a":0}`},
		"merge":  {`{"a":{"x":1},"a":3}`, `merge '': {"a":{"y":1}}`, `{"a":{"x":1,"y":1},"a":{"y":1}}`},
	})
	p := compile(t, jsonEdit(t, "set /a: 0"))
	if got := editJSON(t, p, `{"a":1,"a":2}`, Limits{}, nil); got.matches[0].Count != 2 || got.matches[0].First != 5 {
		t.Errorf("got %+v", got)
	}
}

func TestJSONBails(t *testing.T) {
	long := strings.Repeat("n", 100)
	for name, c := range map[string]struct {
		doc, edits, want string
		reason           Reason
	}{
		"nothing":            {"", "set '': 1", "", BailedSyntax},
		"no JSON":            {"<p>", "set '': 1", "<p>", BailedSyntax},
		"UTF-16":             {"\xff\xfe{\x00}\x00", "set '': 1", "\xff\xfe{\x00}\x00", BailedEncoding},
		"half a mark":        {"\xef\xbb{}", "set '': 1", "\xef\xbb{}", BailedSyntax},
		"two documents":      {`{"a":1}` + "\n" + `{"a":1}`, "set /a: 2", `{"a":2}` + "\n" + `{"a":1}`, BailedTrailing},
		"lines":              {`1` + "\n" + `2`, "set '': 3", `3` + "\n" + `2`, BailedTrailing},
		"mistake behind":     {`{"a":1,"b":tru,"a":1}`, "set /a: 2", `{"a":2,"b":tru,"a":1}`, BailedSyntax},
		"wrong bracket":      {`{"a":[1}`, "append /a: 2", `{"a":[1}`, BailedSyntax},
		"comma at the end":   {`{"a":1,}`, "set /b: 2", `{"a":1,}`, BailedSyntax},
		"comma in array":     {`[1,]`, "set /-: 2", `[1,]`, BailedSyntax},
		"leading zero":       {`[01]`, "set /-: 2", `[01]`, BailedSyntax},
		"minus":              {`[-]`, "set /-: 2", `[-]`, BailedSyntax},
		"point":              {`[1.]`, "set /-: 2", `[1.]`, BailedSyntax},
		"exponent":           {`[1e+]`, "set /-: 2", `[1e+]`, BailedSyntax},
		"number cut off":     {`-`, "set '': 2", `2`, BailedSyntax},
		"control character":  {"[\"a\tb\"]", "set /-: 2", "[\"a\tb\"]", BailedSyntax},
		"escape":             {`["\x"]`, "set /-: 2", `["\x"]`, BailedSyntax},
		"hex":                {`["\u00g0"]`, "set /-: 2", `["\u00g0"]`, BailedSyntax},
		"comment":            {`{"a":1/**/}`, "set /b: 2", `{"a":1/**/}`, BailedSyntax},
		"single quotes":      {`{'a':1}`, "set /b: 2", `{'a':1}`, BailedSyntax},
		"unterminated":       {`{"a":1,"b":"x`, "set /a: 2", `{"a":2,"b":"x`, BailedSyntax},
		"cut off":            {`{"a":1 , "b`, "set /c: 2", `{"a":1 , "b`, BailedSyntax},
		"cut off, gone":      {`{"a":1 , "b`, "remove /a", `{"b`, BailedSyntax},
		"name not UTF-8":     {"{\"a\":1,\"\xff\":2}", "set /a: 2", "{\"a\":2,\"\xff\":2}", BailedEncoding},
		"value not UTF-8":    {"{\"a\":\"\xff\"}", "set /b: 2", "{\"a\":\"\xff\",\"b\":2}", NotBailed},
		"too deep":           {`{"a":1,"b":[[[[]]]],"c":1}`, "set /a: 2\nset /c: 2\nset /d: 2", `{"a":2,"b":[[[[]]]],"c":1}`, BailedDepth},
		"deep and gone":      {`{"b":[[[["]",{"}":[]}]]]],"c":1}`, "remove /b\nset /c: 2", `{"c":2}`, NotBailed},
		"much white space":   {`{"a":1` + strings.Repeat(" ", 100) + `}`, "set /b: 2", `{"a":1` + strings.Repeat(" ", 100) + `}`, BailedMemory},
		"a long name passes": {`{"` + long + `":1,"a":1}`, "remove /a", `{"` + long + `":1}`, NotBailed},
		"space behind gone":  {`{"a":1,` + strings.Repeat(" ", 100) + `"b":1}`, "remove /a", `{"b":1}`, NotBailed},
		"space, gone, space": {`{"a":1, "b":1,` + strings.Repeat(" ", 100) + `"c":1}`, "remove /a\nset /c: 2", `{"b":1,` + strings.Repeat(" ", 100) + `"c":1}`, BailedMemory},
	} {
		t.Run(name, func(t *testing.T) {
			program := compile(t, jsonEdits(t, c.edits)...)
			limits := Limits{Memory: 64, Depth: 4}
			whole := editJSON(t, program, c.doc, limits, nil)
			if whole.out != c.want || whole.bailed != c.reason {
				t.Errorf("got %q (%s)\nwant %q (%s)", whole.out, whole.bailed, c.want, c.reason)
			}
			sameInChunks(t, program, c.doc, limits, whole)
		})
	}
}

func TestJSONMatches(t *testing.T) {
	doc := `{"a":1,"b":[10,20],"c":{"d":1}}`
	edits := jsonEdits(t, `
		remove /a
		set /b/0: 1
		set /b/2: 1
		set /b/3: 1
		append /b: 2
		append /a: 2
		set /new: 1
		merge /c: {"e":1}
		set /c/d: 1
		set /c/x/y: 1
		merge /x: 1`)
	want := "[{1 5 1} {1 12 6} {1 17 10} {0 -1 -1} {1 11 5} {0 -1 -1} {1 30 35} {1 23 22} {1 28 27} {0 -1 -1} {0 -1 -1}]"
	got := editJSON(t, compile(t, edits...), doc, Limits{}, nil)
	if out := `{"b":[1,20,1,1,2],"c":{"d":1,"e":1},"new":1}`; got.out != out {
		t.Errorf("got %s, want %s", got.out, out)
	}
	if fmt.Sprint(got.matches) != want {
		t.Errorf("got %v, want %s", got.matches, want)
	}
}

func TestJSONRequired(t *testing.T) {
	must := func(s string, apply bool) decision.PlannedEdit {
		e := decision.PlannedEdit{Edit: jsonEdit(t, s), Apply: apply}
		e.Required = true
		return e
	}
	other := decision.PlannedEdit{Edit: jsonEdit(t, "set /a: 2"), Apply: true}
	html := decision.PlannedEdit{Edit: decision.Edit{Select: "p", Op: decision.OpRemove, Required: true}, Apply: true}
	pad := strings.Repeat(" ", 300)
	for name, c := range map[string]struct {
		edits  []decision.PlannedEdit
		doc    string
		want   string
		reason Reason
	}{
		"matches":      {[]decision.PlannedEdit{must("set /b: 2", true), other}, `{"a":1,"b":1}`, `{"a":2,"b":2}`, NotBailed},
		"adds":         {[]decision.PlannedEdit{must("set /b: 2", true), other}, `{"a":1}`, `{"a":2,"b":2}`, NotBailed},
		"nothing":      {[]decision.PlannedEdit{must("remove /b", true), other}, `{"a":1}`, `{"a":1}`, BailedRequired},
		"one of two":   {[]decision.PlannedEdit{must("remove /a", true), must("remove /b", true)}, `{"a":1}`, `{"a":1}`, BailedRequired},
		"not applied":  {[]decision.PlannedEdit{must("remove /b", false), other}, `{"a":1}`, `{"a":2}`, NotBailed},
		"of pages":     {[]decision.PlannedEdit{html, other}, `{"a":1}`, `{"a":2}`, NotBailed},
		"too far":      {[]decision.PlannedEdit{must("set /b: 2", true), other}, `{"a":1,"x":[` + pad + `1],"b":1}`, `{"a":1,"x":[` + pad + `1],"b":1}`, BailedRequired},
		"broken first": {[]decision.PlannedEdit{must("set /b: 2", true), other}, `{"a":1,"x","b":1}`, `{"a":1,"x","b":1}`, BailedRequired},
		"broken later": {[]decision.PlannedEdit{must("set /a: 2", true)}, `{"a":1,"x","b":1}`, `{"a":2,"x","b":1}`, BailedSyntax},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := Compile(c.edits)
			if err != nil {
				t.Fatal(err)
			}
			limits := Limits{Memory: 100}
			whole := editJSON(t, program, c.doc, limits, nil)
			if whole.out != c.want || whole.bailed != c.reason {
				t.Errorf("got %q (%s)\nwant %q (%s)", whole.out, whole.bailed, c.want, c.reason)
			}
			sameInChunks(t, program, c.doc, limits, whole)
		})
	}
}

func TestJSONConflicts(t *testing.T) {
	for name, c := range map[string]struct{ edits, doc, want string }{
		"none":           {"a set /a: 1\nb set /b: 2\nb append /c: 3", `{"a":1,"c":[]}`, "[]"},
		"set twice":      {"a set /a: 1\nb set /a: 2", `{"a":1}`, "[{0 1 1 5}]"},
		"added twice":    {"a set /a: 1\nb set /a: 2", `{}`, "[{0 1 1 1}]"},
		"the same":       {"a set /a: 1\nb set /a: 1", `{"a":1}`, "[]"},
		"one experience": {"a set /a: 1\na set /a: 2", `{"a":1}`, "[]"},
		"inside removed": {"a remove /a\nb set /a/b: 2", `{"a":{"b":1}}`, "[{1 0 1 10}]"},
		"inside set":     {"a set /a: {\"b\":1}\nb set /a/b: 2", `{"a":{"b":1}}`, "[]"},
		"before it":      {"b set /a/b: 2\na set /a: {}", `{"a":{"b":1}}`, "[{0 1 1 10}]"},
		"merged":         {"a merge '': {\"a\":1}\nb remove /a", `{"a":2}`, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []decision.PlannedEdit
			for line := range strings.SplitSeq(c.edits, "\n") {
				experience, rest, _ := strings.Cut(line, " ")
				list = append(list, decision.PlannedEdit{Edit: jsonEdit(t, rest), Experience: experience, Apply: true})
			}
			program, err := Compile(list)
			if err != nil {
				t.Fatal(err)
			}
			j := program.NewJSONEditor(io.Discard, Limits{})
			defer j.Release()
			if _, err := io.WriteString(j, c.doc); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(j.Conflicts()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestJSONSlots(t *testing.T) {
	edits := jsonEdits(t, `
		set /hi: {"text":"Hi {{trait \"first_name\" \"there\"}}, {{segment}}!","plain":"{{\"{{\"}}x"}
		append /list: "{{attribute 'utm.campaign' 'none'}}"
		merge '': {"hi":{"also":"\u007b{trait 'first_name'}}"}}`)
	program := compile(t, edits...)
	if got := fmt.Sprint(program.Slots()); got != "[{1 first_name there 0} {3   0} {2 utm.campaign none 0} {1 first_name  0}]" {
		t.Fatalf("slots %s", got)
	}
	values := []string{`A"</script>`, "vip\n", "", "é"}
	limits := Limits{Values: values}
	const doc = `{"hi":1,"list":[]}`
	want := `{"hi":{"text":"Hi A\u0022\u003C\u002Fscript\u003E, vip\u000A!","plain":"{{x","also":"\u00E9"},"list":["none"]}`
	got := editJSON(t, program, doc, limits, nil)
	if got.out != want {
		t.Errorf("got  %s\nwant %s", got.out, want)
	}
	sameInChunks(t, program, doc, limits, got)

	var out strings.Builder
	j := program.NewJSONEditor(&out, limits)
	defer j.Release()
	if _, err := io.WriteString(j, doc); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	cut, template := j.Template([]byte(out.String()))
	if template == nil || string(template.AppendTo(nil, cut, values, nil)) != want {
		t.Errorf("the template %q is filled to something else", cut)
	}
	if got := string(template.AppendTo(nil, cut, nil, nil)); !isJSON(got) || !strings.Contains(got, "Hi there, !") {
		t.Errorf("with the fallbacks: %s", got)
	}
}

func TestJSONErrors(t *testing.T) {
	for name, c := range map[string]struct {
		edit   decision.Edit
		field  string
		column int
	}{
		"no slash":          {jsonEdit(t, "remove a"), "pointer", 1},
		"bad escape":        {jsonEdit(t, "remove /é~2b"), "pointer", 3},
		"escape at the end": {jsonEdit(t, "remove /a~"), "pointer", 3},
		"not UTF-8":         {jsonEdit(t, "remove /\xff"), "pointer", 0},
		"many parts":        {jsonEdit(t, "remove "+strings.Repeat("/a", 101)), "pointer", 0},
		"long":              {jsonEdit(t, "remove /"+strings.Repeat("a", 5000)), "pointer", 0},
		"remove all":        {decision.Edit{Body: "json", Op: "remove"}, "pointer", 0},
		"no op":             {decision.Edit{Pointer: "/a"}, "op", 0},
		"wrong op":          {decision.Edit{Pointer: "/a", Op: "set_inner"}, "op", 0},
		"no value":          {decision.Edit{Pointer: "/a", Op: "set"}, "json", 0},
		"value of remove":   {decision.Edit{Pointer: "/a", Op: "remove", JSON: "1"}, "json", 0},
		"selector":          {decision.Edit{Pointer: "/a", Op: "remove", Select: "p"}, "select", 0},
		"text":              {decision.Edit{Pointer: "/a", Op: "set", JSON: "1", Text: "x"}, "text", 0},
		"broken value":      {decision.Edit{Pointer: "/a", Op: "set", JSON: `{"é":1,}`}, "json", 8},
		"two values":        {decision.Edit{Pointer: "/a", Op: "set", JSON: `1 2`}, "json", 3},
		"cut off":           {decision.Edit{Pointer: "/a", Op: "set", JSON: `[1`}, "json", 2},
		"slot outside":      {decision.Edit{Pointer: "/a", Op: "set", JSON: `{"a": {{trait "x"}}}`}, "json", 7},
		"slot in a name":    {decision.Edit{Pointer: "/a", Op: "set", JSON: `{"{{segment}}": 1}`}, "json", 2},
		"no slot":           {decision.Edit{Pointer: "/a", Op: "set", JSON: `["é", "{{trate}}"]`}, "json", 8},
		"name twice":        {decision.Edit{Pointer: "/a", Op: "set", JSON: `{"a":1,"\u0061":2}`}, "json", 8},
		"deep":              {decision.Edit{Pointer: "/a", Op: "set", JSON: decision.JSON(strings.Repeat("[", 600) + strings.Repeat("]", 600))}, "json", 502},
		"body":              {decision.Edit{Body: "yaml", Op: "set"}, "body", 0},
		"json of a page":    {decision.Edit{Select: "p", Op: "append", JSON: "1"}, "json", 0},
		"op of a page":      {decision.Edit{Select: "p", Op: "merge"}, "op", 0},
		"pointer of a page": {decision.Edit{Body: "html", Select: "p", Op: "remove", Pointer: "/a"}, "pointer", 0},
		"text: select":      {decision.Edit{Body: "text", Select: "p", Op: "replace_text", Pattern: "a"}, "select", 0},
		"text: op":          {decision.Edit{Body: "text", Op: "remove"}, "op", 0},
		"text: pattern":     {decision.Edit{Body: "text", Op: "replace_text", Pattern: "a("}, "pattern", 1},
		"text: html":        {decision.Edit{Body: "text", Op: "replace_text", Pattern: "a", HTML: "b"}, "html", 0},
		"text: slot":        {decision.Edit{Body: "text", Op: "replace_text", Pattern: "a", Text: "b {{segment}}"}, "text", 3},
		"text: group":       {decision.Edit{Body: "text", Op: "replace_text", Pattern: "a", Text: "b $1"}, "text", 3},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(c.edit)
			var wrong *EditError
			if !errors.As(err, &wrong) || wrong.Field != c.field || wrong.Column != c.column {
				t.Errorf("got %v, want field %s column %d", err, c.field, c.column)
			}
			_, compiled := Compile(planned(c.edit))
			if !errors.As(compiled, &wrong) || err == nil || wrong.Error() != err.Error() {
				t.Errorf("compiling says %v, checking %v", compiled, err)
			}
		})
	}
}

// TestManyPlaces: pointers whose parts are names and indices alike share places.
func TestManyPlaces(t *testing.T) {
	p := compile(t, jsonEdit(t, "set "+strings.Repeat("/0", 100)+": 1"), jsonEdit(t, "remove "+strings.Repeat("/1", 100)))
	deep := strings.Repeat(`[`, 50) + strings.Repeat(`{"0":`, 50) + "0" + strings.Repeat("}", 50) + strings.Repeat("]", 50)
	if got := editJSON(t, p, deep, Limits{}, nil); got.matches[0].Count != 1 {
		t.Errorf("got %+v", got)
	}
	var edits []decision.Edit
	for i := range 700 {
		edits = append(edits, jsonEdit(t, fmt.Sprintf("set %s/%d: 1", strings.Repeat("/x", 99), i)))
		edits[i].Pointer = strings.Replace(edits[i].Pointer, "x", fmt.Sprint("x", i), 1)
	}
	if _, err := Compile(planned(edits...)); err == nil || !strings.Contains(err.Error(), "places") {
		t.Errorf("got %v", err)
	}
}
