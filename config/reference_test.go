package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/CONFIGURATION.md anew")

const referenceHead = `# Configuration reference
Made from the comments at the settings themselves: ` + "`go test ./config -run Reference -update`" + ` writes it anew, and a test holds it true.

The file is YAML. Names that you choose are values, never keys; an unknown key is a fault. Each single setting of a block can be overridden by an environment variable: ` + "`SEDGE_SERVER_LISTEN`" + ` for ` + "`server.listen`" + `; an empty one sets nothing. Flags come before the environment, and that before the file.
`

// TestReference holds docs/CONFIGURATION.md true to the code: every setting, with
// what its comment says.
func TestReference(t *testing.T) {
	r := reference{t: t, comments: map[string]map[string]string{}}
	r.out.WriteString(referenceHead)
	top := reflect.TypeFor[Config]()
	for i := range top.NumField() {
		field := top.Field(i)
		name := field.Tag.Get("mapstructure")
		if name == "" {
			continue
		}
		block := field.Type
		fmt.Fprintf(&r.out, "\n## %s\n", name)
		if block.Kind() == reflect.Slice {
			r.out.WriteString("A list; each entry has these settings.\n")
			block = block.Elem()
		}
		r.out.WriteString("\n| setting | value | meaning |\n|---|---|---|\n")
		r.block("", block)
	}
	file := filepath.Join("..", "docs", "CONFIGURATION.md")
	if *update {
		if err := os.WriteFile(file, []byte(r.out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), r.out.String()); diff != "" {
		t.Errorf("docs/CONFIGURATION.md does not say what the code does; run with -update (-want +got):\n%s", diff)
	}
}

type reference struct {
	t        *testing.T
	out      strings.Builder
	comments map[string]map[string]string // by package path, then "Type.Field"
}

func (r *reference) block(prefix string, t reflect.Type) {
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("mapstructure")
		if isFreeform(field.Type) {
			name = freeformKey(field)
		}
		if name == "" || name == "-" {
			continue
		}
		comment := inSettings(t, r.comment(t, field.Name))
		if comment == "" {
			r.t.Errorf("%s.%s is a setting without a comment", t, field.Name)
		}
		inner, kind, entry := field.Type, kindName(field.Type), "."
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
			kind = kindName(inner)
		}
		if inner.Kind() == reflect.Slice && !isFreeform(inner) {
			inner, entry = inner.Elem(), "[]."
			kind = "a list of " + strings.TrimPrefix(strings.TrimPrefix(kindName(inner), "a "), "block of ")
		}
		if isFreeform(field.Type) {
			kind = "anything"
		}
		fmt.Fprintf(&r.out, "| `%s%s` | %s | %s |\n", prefix, name, kind, comment)
		if inner.Kind() == reflect.Struct {
			r.block(prefix+name+entry, inner)
		}
	}
}

// inSettings writes the first mention of each Go field as its setting.
func inSettings(t reflect.Type, comment string) string {
	for i := range t.NumField() {
		field := t.Field(i)
		name := field.Tag.Get("mapstructure")
		if isFreeform(field.Type) {
			name = freeformKey(field)
		}
		at := regexp.MustCompile(`\b` + field.Name + `\b`).FindStringIndex(comment)
		if at != nil && name != "" && name != "-" {
			comment = comment[:at[0]] + "`" + name + "`" + comment[at[1]:]
		}
	}
	return comment
}

// comment returns what stands at a field in its source, on one line.
func (r *reference) comment(t reflect.Type, field string) string {
	const module = "github.com/sedge-proxy/sedge/"
	dir := strings.TrimPrefix(t.PkgPath(), module)
	if r.comments[dir] == nil {
		r.comments[dir] = readComments(r.t, filepath.Join("..", filepath.FromSlash(dir)))
	}
	return r.comments[dir][t.Name()+"."+field]
}

func readComments(t *testing.T, dir string) map[string]string {
	found := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			shared, last := "", 0
			for _, f := range structure.Fields.List {
				line := files.Position(f.Pos()).Line
				if text := oneLine(f); text != "" || line != last+1 {
					shared = text
				}
				last = files.Position(f.End()).Line
				for _, name := range f.Names { // a comment may stand for the fields below it
					found[spec.Name.Name+"."+name.Name] = shared
				}
			}
			return false
		})
	}
	return found
}

func oneLine(f *ast.Field) string {
	text := f.Doc.Text()
	if text == "" {
		text = f.Comment.Text()
	}
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}
