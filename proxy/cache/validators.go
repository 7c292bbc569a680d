package cache

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"
)

// Validators are what tells one version of an answer from another (RFC 9110, 8.8).
// The zero value has none.
type Validators struct {
	ETag         string    // as it came; "" for none
	LastModified string    // as it came; "" for none, or if it is no date
	Modified     time.Time // LastModified; zero for none
	Date         time.Time // when the origin made the answer, else when it came
}

// ReadValidators reads those of an answer that came at a moment.
func ReadValidators(h *fasthttp.ResponseHeader, received time.Time) Validators {
	a := answerHead{received: received}
	a.read(h)
	return a.validators()
}

// soleTag returns the entity tag, or "" if there are two that differ, since nobody knows
// which one holds.
func soleTag(h *fasthttp.ResponseHeader) string {
	var tag []byte
	for name, value := range h.All() {
		if !nameIs(name, "etag") {
			continue
		}
		if tag != nil && !bytes.Equal(tag, value) {
			return ""
		}
		tag = value
	}
	return string(tag)
}

// AppendConditions appends the headers, name and value, by which the origin is asked
// whether the answer still holds (RFC 9111, 4.3.1). They take the place of the client's
// own conditions, which [Request.Evaluate] judges afterwards.
func (v *Validators) AppendConditions(dst [][2]string) [][2]string {
	if v.ETag != "" {
		dst = append(dst, [2]string{fasthttp.HeaderIfNoneMatch, v.ETag})
	}
	if v.LastModified != "" {
		dst = append(dst, [2]string{fasthttp.HeaderIfModifiedSince, v.LastModified})
	}
	return dst
}

// isZero reports whether nothing tells this version from another.
func (v *Validators) isZero() bool { return v.ETag == "" && v.Modified.IsZero() }

// hasStrongTag reports whether there is a strong entity tag (RFC 9110, 8.8.3).
func (v *Validators) hasStrongTag() bool { return isStrongTag(v.ETag) }

// hasStrongDate reports whether the date of modification is a strong validator: it lies
// a second or more before the origin's clock when the answer was made, so that a second
// change would have shown (RFC 9110, 8.8.2.2).
func (v *Validators) hasStrongDate() bool {
	return !v.Modified.IsZero() && !v.Date.Before(v.Modified.Add(time.Second))
}

func isStrongTag(tag string) bool {
	if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return false
	}
	for i := 1; i < len(tag)-1; i++ {
		if b := tag[i]; b <= ' ' || b == '"' || b == 0x7f {
			return false
		}
	}
	return true
}

// weakly cuts off what marks a tag as weak: the weak comparison of RFC 9110, 8.8.3.2,
// is that of the rest.
func weakly(tag string) string {
	if len(tag) > 2 && tag[:2] == "W/" {
		return tag[2:]
	}
	return tag
}

// cutTag cuts the next entity tag off a list. A tag without quotes, which some origins
// have, ends at the next comma; commas in quotes are part of the tag.
func cutTag(list []byte) (tag, rest []byte) {
	for len(list) > 0 && (list[0] == ',' || isBlank(list[0])) {
		list = list[1:]
	}
	quote := 0
	if len(list) > 2 && string(list[:2]) == "W/" {
		quote = 2
	}
	end := bytes.IndexByte(list, ',')
	if len(list) > quote && list[quote] == '"' {
		if close := bytes.IndexByte(list[quote+1:], '"'); close >= 0 {
			if comma := bytes.IndexByte(list[quote+close+2:], ','); comma >= 0 {
				end = quote + close + 2 + comma
			} else {
				end = -1
			}
		}
	}
	if end < 0 {
		return trimBlanks(list), nil
	}
	return trimBlanks(list[:end]), list[end+1:]
}
