package cache

import (
	"bytes"
	"slices"

	"github.com/valyala/fasthttp"
)

// Bounds of the tags of one answer.
const (
	maxTags     = 256
	maxTagBytes = 16 << 10
)

// readTags returns the tags by which the answer can be purged: Surrogate-Key has them
// separated by spaces, Cache-Tag by commas. ok is false if they are more than the
// bounds allow: some of them left out, a purge would not find the answer.
func readTags(h *fasthttp.ResponseHeader) (tags []string, ok bool) {
	size := 0
	add := func(tag []byte) bool {
		size += len(tag)
		tags = append(tags, string(tag))
		return len(tags) <= maxTags && size <= maxTagBytes
	}
	for name, value := range h.All() {
		switch {
		case nameIs(name, "surrogate-key"):
			for tag := range bytes.FieldsSeq(value) {
				if !add(tag) {
					return nil, false
				}
			}
		case nameIs(name, "cache-tag"):
			for len(value) > 0 {
				var tag []byte
				tag, value = cutMember(value)
				if len(tag) > 0 && !add(tag) {
					return nil, false
				}
			}
		}
	}
	slices.Sort(tags)
	return slices.Clip(slices.Compact(tags)), true
}

// maxVary bounds the number of request headers that an answer is selected by.
const maxVary = 32

// readVary returns the names that Vary lists, in lower case, sorted, each once. ok is
// false if no other request can match (RFC 9111, 4.1): for "*", for what is no list of
// names, and for more names than anybody needs.
func readVary(h *fasthttp.ResponseHeader) (names []string, ok bool) {
	for name, list := range h.All() {
		if !nameIs(name, "vary") {
			continue
		}
		for len(list) > 0 {
			var member []byte
			member, list = cutMember(list)
			switch {
			case len(member) == 0:
			case !isToken(member), string(member) == "*", len(names) == maxVary:
				return nil, false
			default:
				names = append(names, lowerString(member))
			}
		}
	}
	slices.Sort(names)
	return slices.Clip(slices.Compact(names)), true
}
