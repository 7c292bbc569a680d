package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// Freshen makes dst the header of a stored answer as an answer without content updates
// it: a 304, or that to a HEAD request (RFC 9111, 3.2, 4.3.4 and 4.3.5). Each field that
// the update has takes the place of all stored ones of that name, save what [isKept]
// names. dst may be neither of the two. stored may be in use by others meanwhile.
//
// What comes of it has the update's Age, or none: [ReadRules] reads it, and what is then
// stored should be without. If the rules now forbid to keep the answer, it still answers
// the request at hand, and has to go.
func Freshen(dst, stored, update *fasthttp.ResponseHeader) error {
	// fasthttp takes a Date only from what it parses, so the header is written and read.
	raw := append([]byte("HTTP/1.1 "), strconv.Itoa(stored.StatusCode())...)
	raw = append(append(append(raw, ' '), stored.StatusMessage()...), "\r\n"...)
	updated := make(map[string]struct{})
	tag := soleTag(stored)
	foreignTag := tag != "" && weakly(soleTag(update)) != weakly(tag)
	for name, value := range update.All() {
		key := bytes.ToLower(name)
		if isKept(key) || foreignTag && string(key) == "etag" {
			continue
		}
		updated[string(key)] = struct{}{}
		raw = appendField(raw, name, value)
	}
	lengthed := false
	for name, value := range stored.All() {
		key := bytes.ToLower(name)
		if _, replaced := updated[string(key)]; replaced || string(key) == "age" {
			continue
		}
		lengthed = lengthed || string(key) == "content-length"
		raw = appendField(raw, name, value)
	}
	if !lengthed { // else fasthttp would think that the body ends with its connection
		raw = appendField(raw, []byte(fasthttp.HeaderContentLength), []byte("0"))
	}
	raw = append(raw, "\r\n"...)
	stored.CopyTo(dst) // for how it is set up: that a Date is not made up, and names are not respelled
	if err := dst.Read(bufio.NewReaderSize(bytes.NewReader(raw), len(raw))); err != nil {
		return fmt.Errorf("freshen a stored header: %w", err)
	}
	if !lengthed {
		dst.Del(fasthttp.HeaderContentLength)
	}
	return nil
}

func appendField(dst, name, value []byte) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// isKept reports whether a field, in lower case, is not updated: it belongs to one hop or
// one visitor, so it is not stored either (RFC 9111, 3.1); it says something of the
// content that came with the update, which is none; or the stored body was read by it,
// and is only true with it (3.2).
func isKept(name []byte) bool {
	switch string(name) {
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
		"proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
		"set-cookie", "set-cookie2",
		"content-length", "content-range", "content-digest", "content-md5",
		"content-encoding":
		return true
	}
	return false
}

// SelectFreshened returns which of the stored answers that could have been chosen for a
// request a 304 freshens, by their validators and its own (RFC 9111, 4.3.4). It may be
// none: the stored answer that was asked about then still answers the request, as the
// 304 confirms it, but is no fresher for it.
func SelectFreshened(update *Validators, stored []Validators) []int {
	var found []int
	if update.isZero() {
		if len(stored) == 1 && stored[0].isZero() {
			found = append(found, 0)
		}
		return found
	}
	strong := update.hasStrongTag() || update.ETag == "" && update.hasStrongDate()
	for i := range stored {
		switch s := &stored[i]; {
		case !update.matches(s):
		case strong || len(found) == 0:
			found = append(found, i)
		case s.Date.After(stored[found[0]].Date):
			found[0] = i // a weak validator is for the latest alone
		}
	}
	return found
}

// matches reports whether the validators of a 304 may be those of a stored answer. Where
// both have tags, dates do not count: they tell less.
func (v *Validators) matches(stored *Validators) bool {
	if v.ETag != "" && stored.ETag != "" {
		if v.hasStrongTag() {
			return v.ETag == stored.ETag
		}
		return weakly(v.ETag) == weakly(stored.ETag)
	}
	if v.hasStrongTag() && !v.hasStrongDate() {
		return false // the tag is the only strong validator, and nothing stored has it
	}
	return !v.Modified.IsZero() && v.Modified.Equal(stored.Modified)
}

// HeadEffect is what an answer to HEAD does to a stored answer.
type HeadEffect byte

const (
	HeadNothing  HeadEffect = iota
	HeadFreshens            // with [Freshen]
	HeadExpires             // with [Rules.Expire]
)

// JudgeHead says what an answer to HEAD does to a stored answer to GET that could have
// been chosen for the request, and whose body has length bytes (RFC 9111, 4.3.5). An
// answer by which nobody can tell whether the stored one still holds does nothing: else
// anybody could keep it fresh by asking.
func JudgeHead(stored *Validators, length int64, head *fasthttp.ResponseHeader, received time.Time) HeadEffect {
	if head.StatusCode() != fasthttp.StatusOK {
		return HeadNothing
	}
	v := ReadValidators(head, received)
	known := !v.isZero()
	if v.ETag != "" && v.ETag != stored.ETag || !v.Modified.IsZero() && !v.Modified.Equal(stored.Modified) {
		return HeadExpires
	}
	for name, value := range head.All() {
		if nameIs(name, "content-length") {
			if string(value) != strconv.FormatInt(length, 10) {
				return HeadExpires
			}
			known = true
		}
	}
	if !known {
		return HeadNothing
	}
	return HeadFreshens
}
