package segmenter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// walker goes over a rule's tree before it is checked. It finds every input,
// puts the place where the environment holds it in its stead, and refuses what
// would hide an input or cost more than the rule is long.
type walker struct {
	rule, all *inputs
	scores    []string
	err       *ruleError // the first
}

func (w *walker) fail(at ast.Node, format string, args ...any) {
	if w.err == nil {
		w.err = &ruleError{start(at).From + 1, fmt.Sprintf(format, args...)}
	}
}

// start is where a person sees a node begin; a member's own place is its dot.
func start(n ast.Node) file.Location {
	switch n := n.(type) {
	case *ast.MemberNode:
		return start(n.Node)
	case *ast.CallNode:
		return start(n.Callee)
	default:
		return n.Location()
	}
}

func (w *walker) walk(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
	case *ast.IdentifierNode:
		w.identifier(n)
	case *ast.MemberNode:
		w.member(node, n)
	case *ast.CallNode:
		w.call(node, n)
	case *ast.UnaryNode:
		w.walk(&n.Node)
		if n.Operator == "not" || n.Operator == "!" {
			w.asTruth(&n.Node)
		}
	case *ast.BinaryNode:
		w.binary(node, n)
	case *ast.BuiltinNode:
		w.builtin(n)
	case *ast.ConditionalNode:
		w.walk(&n.Cond)
		w.walk(&n.Exp1)
		w.walk(&n.Exp2)
		w.asTruth(&n.Cond)
	case *ast.ArrayNode:
		for i := range n.Nodes {
			w.walk(&n.Nodes[i])
		}
	case *ast.ChainNode:
		w.walk(&n.Node)
		*node = n.Node // every input is there, so nothing is optional
	case *ast.SliceNode:
		w.slice(n)
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		w.fail(n, "variables are not possible in rules: write the value where it is used")
	default:
		w.fail(n, "this is not possible in rules")
	}
}

func (w *walker) slice(n *ast.SliceNode) {
	w.walk(&n.Node)
	if n.From != nil {
		w.walk(&n.From)
	}
	if n.To != nil {
		w.walk(&n.To)
	}
}

// roots are the names that rules start from.
var roots = []string{"request", "visitor", "traits", "count", "score"}

func (w *walker) identifier(n *ast.IdentifierNode) {
	switch n.Value {
	case "request", "visitor":
		w.fail(n, "%s needs a field: %s.NAME", n.Value, n.Value)
	case "traits":
		w.fail(n, `traits needs a name: traits.NAME or traits["NAME"]`)
	case "count", "score":
		w.fail(n, `%s needs a name: %s("NAME")`, n.Value, n.Value)
	default:
		w.fail(n, "unknown name %s%s; rules read request, visitor, traits, count(…) and score(…)", n.Value, didYouMean(n.Value, roots))
	}
}

// member resolves request.utm.campaign, visitor.orders, traits["plan"].
func (w *walker) member(node *ast.Node, n *ast.MemberNode) {
	root, keys := chain(n)
	if root == nil {
		w.fail(n, "a field is read of something that has no fields")
		return
	}
	if !slices.Contains(roots, root.Value) {
		w.identifier(root)
		return
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		text, ok := key.(*ast.StringNode)
		if !ok {
			w.fail(key, "expected a constant name: every input of a rule must be known when it is compiled")
			return
		}
		names[i] = text.Value
	}
	switch root.Value {
	case "request":
		w.request(node, names, keys)
	case "visitor":
		w.visitor(names, keys)
	case "traits":
		if len(names) > 1 {
			w.fail(keys[1], "trait %q is a plain value and has no fields", names[0])
			return
		}
		addString(&w.rule.traits, names[0])
		addString(&w.all.traits, names[0])
	default:
		w.identifier(root)
	}
	if m, ok := (*node).(*ast.MemberNode); ok {
		m.Optional = false
	}
}

// chain returns the identifier that a chain of members starts from, and the
// properties in their order.
func chain(n *ast.MemberNode) (*ast.IdentifierNode, []ast.Node) {
	var keys []ast.Node
	var node ast.Node = n
	for {
		switch n := node.(type) {
		case *ast.MemberNode:
			keys = append(keys, n.Property)
			node = n.Node
		case *ast.ChainNode:
			node = n.Node
		case *ast.IdentifierNode:
			slices.Reverse(keys)
			return n, keys
		default:
			return nil, nil
		}
	}
}

// requestFields are the fields of "request"; those of requestGroups have names
// of the site's choice below them.
var (
	requestFields = []string{
		"path", "host", "method", "device", "os", "browser", "language", "locale", "referrer", "referrer_url",
		"utm", "query", "cookie", "header",
	}
	requestGroups = []string{"query", "cookie", "header"}
	utmFields     = []string{"campaign", "source", "medium", "term", "content"}
)

func (w *walker) request(node *ast.Node, names []string, keys []ast.Node) {
	field := names[0]
	depth := 1
	switch {
	case !slices.Contains(requestFields, field):
		w.fail(keys[0], "request has no field %s%s; it has %s", field, didYouMean(field, requestFields), strings.Join(requestFields, ", "))
		return
	case field == "utm":
		depth = 2
		if len(names) < 2 || !slices.Contains(utmFields, names[1]) {
			w.fail(keys[len(keys)-1], "expected request.utm.campaign, .source, .medium, .term or .content")
			return
		}
	case slices.Contains(requestGroups, field):
		depth = 2
		if len(names) < 2 || names[1] == "" {
			w.fail(keys[0], `request.%s needs a name: request.%s["NAME"]`, field, field)
			return
		}
		if field == "header" {
			names[1] = strings.ToLower(names[1])
		}
	}
	if len(names) > depth {
		w.fail(keys[depth], "request.%s is text and has no fields", strings.Join(names[:depth], "."))
		return
	}
	name := strings.Join(names, ".")
	addString(&w.rule.request, name)
	w.index(node, "request", w.all.addRequest(name))
}

// ruleName spells an attribute as rules do.
func ruleName(attribute string) string {
	group, name, _ := strings.Cut(attribute, ".")
	if slices.Contains(requestGroups, group) {
		return fmt.Sprintf("request.%s[%q]", group, name)
	}
	return "request." + attribute
}

func (w *walker) visitor(names []string, keys []ast.Node) {
	known := visitorFieldNames()
	i := slices.Index(known, names[0])
	switch {
	case i < 0:
		w.fail(keys[0], "visitor has no field %s%s; it has %s", names[0], didYouMean(names[0], known), strings.Join(known, ", "))
	case len(names) > 1:
		w.fail(keys[1], "visitor.%s is a plain value and has no fields", names[0])
	default:
		addInt(&w.rule.visitor, i)
		addInt(&w.all.visitor, i)
	}
}

// call resolves count("name") and score("name"), the only functions of ours.
func (w *walker) call(node *ast.Node, n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || callee.Value != "count" && callee.Value != "score" {
		name := "this"
		if ok {
			name = callee.Value
		}
		w.fail(n.Callee, "%s is not a function of rules", name)
		return
	}
	var name string
	if len(n.Arguments) == 1 {
		if text, ok := n.Arguments[0].(*ast.StringNode); ok {
			name = text.Value
		}
	}
	if name == "" {
		w.fail(n.Callee, `%s takes one constant name: %s("NAME")`, callee.Value, callee.Value)
		return
	}
	if callee.Value == "count" {
		addString(&w.rule.counts, name)
		addString(&w.all.counts, name)
		ast.Patch(node, &ast.MemberNode{Node: &ast.IdentifierNode{Value: "count"}, Property: &ast.StringNode{Value: name}})
		return
	}
	i := slices.Index(w.scores, name)
	if i < 0 {
		w.fail(n.Arguments[0], "unknown score %q%s", name, didYouMean(name, w.scores))
		return
	}
	addInt(&w.rule.scores, i)
	w.index(node, "score", i)
}

func (w *walker) index(node *ast.Node, list string, i int) {
	ast.Patch(node, &ast.MemberNode{Node: &ast.IdentifierNode{Value: list}, Property: &ast.IntegerNode{Value: i}})
}

func (w *walker) builtin(n *ast.BuiltinNode) {
	if !allowedBuiltins[n.Name] {
		w.fail(n, "the function %s is not possible in rules", n.Name)
		return
	}
	for i := range n.Arguments {
		w.walk(&n.Arguments[i])
		if textBuiltins[n.Name] {
			w.asText(&n.Arguments[i])
		}
	}
}

func (w *walker) binary(node *ast.Node, n *ast.BinaryNode) {
	if n.Operator == "matches" {
		if _, ok := n.Right.(*ast.StringNode); !ok {
			w.fail(n.Right, "expected a constant pattern")
			return
		}
	}
	w.walk(&n.Left)
	w.walk(&n.Right)
	switch n.Operator {
	case "..":
		w.fail(n, "ranges are not possible in rules: compare with >= and <=")
	case "and", "or", "&&", "||":
		w.asTruth(&n.Left)
		w.asTruth(&n.Right)
	case "contains", "startsWith", "endsWith", "matches":
		w.asText(&n.Left)
		w.asText(&n.Right)
	case "in":
		if allText(n.Right) {
			w.asText(&n.Left)
		}
	case "<", "<=", ">", ">=":
		if isTrait(n.Left) || isTrait(n.Right) {
			w.replace(node, "trait compare", &ast.StringNode{Value: n.Operator}, n.Left, n.Right)
		}
	}
}

func allText(n ast.Node) bool {
	array, ok := n.(*ast.ArrayNode)
	if !ok {
		return false
	}
	return !slices.ContainsFunc(array.Nodes, func(n ast.Node) bool {
		_, ok := n.(*ast.StringNode)
		return !ok
	})
}

func isTrait(n ast.Node) bool {
	member, ok := n.(*ast.MemberNode)
	if !ok {
		return false
	}
	root, ok := member.Node.(*ast.IdentifierNode)
	return ok && root.Value == "traits"
}

func (w *walker) asTruth(node *ast.Node) {
	if isTrait(*node) {
		w.replace(node, "trait truth", *node)
	}
}

func (w *walker) asText(node *ast.Node) {
	if isTrait(*node) {
		w.replace(node, "trait text", *node)
	}
}

func (w *walker) replace(node *ast.Node, function string, args ...ast.Node) {
	ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}, Arguments: args})
}
