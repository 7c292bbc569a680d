package segmenter

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// rule is one compiled expression. It is immutable.
type rule struct {
	text    string
	program *vm.Program
	inputs  inputs
}

// ruleError is a fault inside a rule's text.
type ruleError struct {
	column  int // counted in characters from 1; 0: the text as a whole
	message string
}

func (e *ruleError) Error() string { return e.message }

// allowedBuiltins are the functions of expr that cost no more than their
// arguments are long. The others loop, grow their result, or read the clock, which
// would make the time window of an answer unknowable.
var allowedBuiltins = map[string]bool{
	"len": true, "abs": true, "ceil": true, "floor": true, "round": true, "int": true, "float": true, "string": true,
	"trim": true, "trimPrefix": true, "trimSuffix": true, "upper": true, "lower": true,
	"indexOf": true, "lastIndexOf": true, "hasPrefix": true, "hasSuffix": true, "max": true, "min": true,
}

// textBuiltins take text; a trait in their arguments is read as text.
var textBuiltins = map[string]bool{
	"trim": true, "trimPrefix": true, "trimSuffix": true, "upper": true, "lower": true,
	"indexOf": true, "lastIndexOf": true, "hasPrefix": true, "hasSuffix": true, "len": true,
}

// compileRule compiles text. all collects the inputs of all rules; scores names
// the scores that the rule may read.
func compileRule(text string, all *inputs, scores []string) (*rule, *ruleError) {
	if len(text) > MaxExpression {
		return nil, &ruleError{0, fmt.Sprintf("the rule has %d bytes, at most %d are possible", len(text), MaxExpression)}
	}
	config := newConfig()
	tree, err := parser.ParseWithConfig(text, config)
	if err != nil {
		return nil, asRuleError(err)
	}
	r := &rule{text: text}
	w := &walker{rule: &r.inputs, all: all, scores: scores}
	w.walk(&tree.Node)
	w.asTruth(&tree.Node)
	if w.err != nil {
		return nil, w.err
	}
	if _, err := checker.Check(tree, config); err != nil {
		return nil, asRuleError(err)
	}
	if err := optimizer.Optimize(&tree.Node, config); err != nil {
		return nil, asRuleError(err)
	}
	if r.program, err = compiler.Compile(tree, config); err != nil {
		return nil, asRuleError(err)
	}
	return r, nil
}

func newConfig() *conf.Config {
	config := conf.New(environment{})
	config.Expect, config.ExpectAny = reflect.Bool, true
	config.MaxNodes = maxNodes
	for name := range config.Builtins {
		if !allowedBuiltins[name] {
			delete(config.Builtins, name)
			config.Disabled[name] = true
		}
	}
	for _, f := range traitFunctions {
		config.Functions[f.Name] = f
	}
	return config
}

func asRuleError(err error) *ruleError {
	var at *file.Error
	if !errors.As(err, &at) {
		return &ruleError{0, err.Error()}
	}
	return &ruleError{at.From + 1, at.Message}
}

// traitFunctions read traits, whose types are known only when a visitor is
// there. The names cannot be written in a rule.
var traitFunctions = []*builtin.Function{
	{Name: "trait truth", Func: traitTruth, Types: []reflect.Type{reflect.TypeFor[func(any) bool]()}},
	{Name: "trait text", Func: traitText, Types: []reflect.Type{reflect.TypeFor[func(any) string]()}},
	{Name: "trait compare", Func: traitCompare, Types: []reflect.Type{reflect.TypeFor[func(string, any, any) bool]()}},
}

func traitTruth(args ...any) (any, error) {
	truth, _ := args[0].(bool)
	return truth, nil
}

func traitText(args ...any) (any, error) {
	text, _ := args[0].(string)
	return text, nil
}

// traitCompare orders two numbers or two texts; anything else is in no order.
func traitCompare(args ...any) (any, error) {
	operator := args[0].(string)
	if a, ok := args[1].(string); ok {
		b, ok := args[2].(string)
		return ok && ordered(operator, strings.Compare(a, b)), nil
	}
	a, okA := number(args[1])
	b, okB := number(args[2])
	switch {
	case !okA || !okB || a != a || b != b:
		return false, nil
	case a < b:
		return ordered(operator, -1), nil
	case a > b:
		return ordered(operator, 1), nil
	}
	return ordered(operator, 0), nil
}

func ordered(operator string, order int) bool {
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	default:
		return order >= 0
	}
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	}
	return 0, false
}
