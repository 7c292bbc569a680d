package rewrite

import (
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// decide finds out what becomes of each kind of value at a node.
func (c *jsonCompiler) decide(n *jsonNode, looks []jsonLook, steps []jsonStep) {
	var below []jsonLook
	for _, l := range looks {
		if len(l.path) > 0 {
			below = append(below, l)
		}
	}
	var ends [jsonKinds]*jsonState
	for _, kind := range [...]jsonKind{jsonScalar, jsonArray, jsonObject} {
		fate := &n.fates[kind]
		s := &jsonState{is: jsonOriginal, hides: jsonHider{by: -1}}
		if s.started = firstKill(steps, kind); s.started < 0 {
			if kind != jsonScalar {
				fate.inside = n
			}
			continue
		}
		if kind != jsonScalar && ends[jsonScalar] != nil && ends[jsonScalar].started == s.started {
			*fate = n.fates[jsonScalar] // from there on it does not matter what was there
		} else {
			s.run(steps)
			*fate = s.fate()
			ends[kind] = s
		}
		if kind != jsonScalar {
			fate.inside = c.node(below, nil)
		}
	}
}

// firstKill returns the first step with which a value of a kind stops to be what
// it was in the document; -1 for none.
func firstKill(steps []jsonStep, kind jsonKind) int {
	return slices.IndexFunc(steps, func(s jsonStep) bool {
		switch {
		case len(s.path) > 0:
			return false
		case s.op == decision.OpSet, s.op == decision.OpRemove:
			return true
		}
		return s.op == decision.OpMerge && (kind != jsonObject || s.value.kind != jsonObject)
	})
}

// jsonState is a place while edits are applied to it one by one.
type jsonState struct {
	started int // the step from which on nothing is left of the document
	is      jsonStateKind
	value   *jsonValue
	removed bool // at least once
	order   int  // the step that added the value
	hides   jsonHider
}

type jsonStateKind byte

const (
	jsonOriginal jsonStateKind = iota
	jsonAbsent
	jsonKnown
)

func (s *jsonState) run(steps []jsonStep) {
	for i := s.started; i < len(steps); i++ {
		s.step(i, &steps[i])
	}
}

func (s *jsonState) step(i int, step *jsonStep) {
	switch {
	case s.is == jsonKnown && len(step.path) > 0:
		if applyBelow(s.value, step.path, step.op, step.value) {
			s.hides.alive = append(s.hides.alive, step.edit)
		}
		return
	case len(step.path) > 0:
		return
	case step.op == decision.OpSet:
		s.put(i, step.value.clone())
	case step.op == decision.OpRemove && s.is != jsonAbsent:
		s.is, s.value, s.removed = jsonAbsent, nil, true
	case step.op == decision.OpMerge && (s.is == jsonKnown && step.value.kind == jsonObject && s.value.kind == jsonObject):
		s.value = mergePatch(s.value, step.value)
		s.hides.alive = append(s.hides.alive, step.edit)
		return
	case step.op == decision.OpMerge && (s.is != jsonAbsent || step.adds):
		s.put(i, mergePatch(nil, step.value))
	case step.op == decision.OpAppend && s.is == jsonKnown && s.value.kind == jsonArray:
		s.value.values = append(s.value.values, step.value.clone())
		s.hides.alive = append(s.hides.alive, step.edit)
		return
	default:
		return
	}
	s.hides = jsonHider{by: step.edit}
}

func (s *jsonState) put(i int, v *jsonValue) {
	if s.is == jsonAbsent {
		s.order = i
	}
	s.is, s.value = jsonKnown, v
}

// fate says what becomes of a value that was there. One that was removed and set
// again stands at the end of its object; see jsonMember.again.
func (s *jsonState) fate() jsonFate {
	f := jsonFate{act: jsonRemove, hides: s.hides}
	if s.is == jsonKnown && !s.removed {
		f.act, f.text = jsonReplace, s.value.appendPieces(nil)
	}
	return f
}

// applyBelow applies an edit to a place inside a value that edits made, and reports
// whether the place is there.
func applyBelow(v *jsonValue, path []string, op decision.Op, value *jsonValue) bool {
	for len(path) > 1 {
		at := v.index(path[0])
		if at < 0 {
			return false
		}
		v, path = v.values[at], path[1:]
	}
	at := v.index(path[0])
	if at < 0 {
		return op == decision.OpSet && v.put(path[0], quoteName(path[0]), value.clone())
	}
	switch op {
	case decision.OpSet:
		v.values[at] = value.clone()
	case decision.OpRemove:
		v.take(at)
	case decision.OpMerge:
		v.values[at] = mergePatch(v.values[at], value)
	case decision.OpAppend:
		if v.values[at].kind != jsonArray {
			return false
		}
		v.values[at].values = append(v.values[at].values, value.clone())
	}
	return true
}

func quoteName(name string) string {
	return string(append(appendQuotedInside([]byte{'"'}, name), '"'))
}
