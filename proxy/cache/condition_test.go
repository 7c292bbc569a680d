package cache_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

func splitLines(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(s, "\n") {
			if line != "" && !yield(line) {
				return
			}
		}
	}
}

func say(o cache.Reply) string {
	switch o.Status {
	case 206:
		return fmt.Sprintf("206 %d+%d", o.First, o.Length)
	}
	return fmt.Sprint(o.Status)
}

func TestConditions(t *testing.T) {
	const (
		strong   = `ETag: "a"`
		weak     = `ETag: W/"a"`
		modified = "Last-Modified: " + hourAgo
	)
	for _, c := range []struct {
		name    string
		stored  string
		request string
		want    string // of a body of 1000 bytes
	}{
		{"9110 13.1.2: the tag", strong, `If-None-Match: "a"`, "304"},
		{"9110 13.1.2: another", strong, `If-None-Match: "b"`, "200"},
		{"9110 13.1.2: case counts", strong, `If-None-Match: "A"`, "200"},
		{"9110 13.1.2: a list", strong, `If-None-Match: "b" , "a"`, "304"},
		{"9110 13.1.2: a list without blanks", strong, `If-None-Match: "b","a"`, "304"},
		{"9110 13.1.2: several lines", strong, "If-None-Match: \"b\"\nif-none-match: \"a\"", "304"},
		{"9110 13.1.2: *", strong, "If-None-Match: *", "304"},
		{"9110 13.1.2: * for an answer without a tag", "X: y", "If-None-Match: *", "304"},
		{"9110 13.1.2: * among others is no *", strong, `If-None-Match: "b", *`, "200"},
		{"9110 8.8.3.2: weak comparison, stored weak", weak, `If-None-Match: "a"`, "304"},
		{"9110 8.8.3.2: weak comparison, asked weak", strong, `If-None-Match: W/"a"`, "304"},
		{"9110 8.8.3.2: weak comparison, both", weak, `If-None-Match: "c", W/"a"`, "304"},
		{"9110 8.8.3: W has case", strong, `If-None-Match: w/"a"`, "200"},
		{"9110 8.8.3: a comma in a tag", `ETag: "a,b"`, `If-None-Match: "x", "a,b"`, "304"},
		{"9110 8.8.3: parts of it are none", `ETag: "a"`, `If-None-Match: "x,"a","y"`, "200"},
		{"9110 8.8.3: a backslash is a backslash", `ETag: "a\"`, `If-None-Match: "a\"`, "304"},
		{"9110 8.8.3: an empty tag", `ETag: ""`, `If-None-Match: ""`, "304"},
		{"9110 8.8.3: a tag without quotes is the same without quotes", `ETag: a`, `If-None-Match: b, a`, "304"},
		{"9110 8.8.3: and another with", `ETag: a`, `If-None-Match: "a"`, "200"},
		{"9110 8.8.3: two tags are none", "ETag: \"a\"\nETag: \"b\"", `If-None-Match: "a", "b"`, "200"},
		{"9110 8.8.3: twice the same is one", "ETag: \"a\"\netag: \"a\"", `If-None-Match: "a"`, "304"},
		{"9110 13.1.2: no tag is stored", modified, `If-None-Match: "a"`, "200"},
		{"9110 13.1.2: an empty list", strong, `If-None-Match: ,`, "200"},
		{"9110 13.1.3: a tag before the date", strong + "\n" + modified, `If-None-Match: "b"` + "\nIf-Modified-Since: " + hourAgo, "200"},
		{"9110 13.1.3: a date that would not do", strong + "\n" + modified, `If-None-Match: "a"` + "\nIf-Modified-Since: Wed, 04 Mar 2026 10:00:00 GMT", "304"},

		{"9110 13.1.3: the same date", modified, "If-Modified-Since: " + hourAgo, "304"},
		{"9110 13.1.3: a later date", modified, "If-Modified-Since: " + hourLater, "304"},
		{"9110 13.1.3: an earlier date", modified, "If-Modified-Since: Wed, 04 Mar 2026 10:59:59 GMT", "200"},
		{"9110 13.1.3: in another form", modified, "If-Modified-Since: Wed Mar  4 11:00:00 2026", "304"},
		{"9110 13.1.3: no date", modified, "If-Modified-Since: yesterday", "200"},
		{"9110 13.1.3: two dates", modified, "If-Modified-Since: " + hourAgo + "\nIf-Modified-Since: " + hourLater, "200"},
		{"9111 4.3.2: Date in the place of Last-Modified", strong, "If-Modified-Since: Wed, 04 Mar 2026 12:00:00 GMT", "304"},
		{"9111 4.3.2: and before it", strong, "If-Modified-Since: " + hourAgo, "200"},
		{"9111 4.3.2: Last-Modified that is no date", "Last-Modified: x", "If-Modified-Since: Wed, 04 Mar 2026 12:00:00 GMT", "304"},

		{"9110 14.2: a range", strong, "Range: bytes=0-99", "206 0+100"},
		{"9110 14.1.2: to the end", strong, "Range: bytes=900-", "206 900+100"},
		{"9110 14.1.2: the last", strong, "Range: bytes=-100", "206 900+100"},
		{"9110 14.1.2: more than there is", strong, "Range: bytes=900-2000", "206 900+100"},
		{"9110 14.1.2: all of it by its end", strong, "Range: bytes=-2000", "206 0+1000"},
		{"9110 14.1.2: one byte", strong, "Range: bytes=999-999", "206 999+1"},
		{"9110 14.1: the unit has no case", strong, "Range: BYTES=0-0", "206 0+1"},
		{"9110 14.1.2: blanks", strong, "Range: bytes= 0-99 ,", "206 0+100"},
		{"9110 15.5.17: behind the end", strong, "Range: bytes=1000-", "416"},
		{"9110 15.5.17: nothing of the end", strong, "Range: bytes=-0", "416"},
		{"9110 15.5.17: all of several", strong, "Range: bytes=1000-1001, 2000-", "416"},
		{"9110 14.1.2: beyond all numbers", strong, "Range: bytes=99999999999999999999-99999999999999999999999", "416"},
		{"9110 14.1.2: from the beginning to there", strong, "Range: bytes=0-99999999999999999999999", "206 0+1000"},
		{"9110 14.2: several are answered by the whole", strong, "Range: bytes=0-9, 20-29", "200"},
		{"9110 14.2: of several only one exists", strong, "Range: bytes=0-9, 2000-", "206 0+10"},
		{"9110 14.1.1: the last before the first", strong, "Range: bytes=9-0", "200"},
		{"9110 14.1.1: among sound ones", strong, "Range: bytes=0-9, 9-0", "200"},
		{"9110 14.2: another unit", strong, "Range: pages=1-2", "200"},
		{"9110 14.1.1: no unit", strong, "Range: 0-9", "200"},
		{"9110 14.1.1: no range", strong, "Range: bytes=", "200"},
		{"9110 14.1.1: only a dash", strong, "Range: bytes=-", "200"},
		{"9110 14.1.1: two dashes", strong, "Range: bytes=0--9", "200"},
		{"9110 14.1.1: blanks within", strong, "Range: bytes=0 - 9", "200"},
		{"9110 14.1.1: a blank before the equals sign", strong, "Range: bytes =0-9", "200"},
		{"9110 14.1.1: no numbers", strong, "Range: bytes=a-b", "200"},
		{"9110 14.1.1: a sign", strong, "Range: bytes=+0-9", "200"},
		{"9110 14.2: two lines", strong, "Range: bytes=0-9\nRange: bytes=0-9", "200"},
		{"9110 14.2: not if the answer is a 304", strong, "Range: bytes=0-9\nIf-None-Match: \"a\"", "304"},
		{"9110 14.2: but if it is not", strong, "Range: bytes=0-9\nIf-None-Match: \"b\"", "206 0+10"},

		{"9110 13.1.5: the tag", strong, "Range: bytes=0-9\nIf-Range: \"a\"", "206 0+10"},
		{"9110 13.1.5: another", strong, "Range: bytes=0-9\nIf-Range: \"b\"", "200"},
		{"9110 13.1.5: then not even 416", strong, "Range: bytes=5000-\nIf-Range: \"b\"", "200"},
		{"9110 13.1.5: with the tag it is", strong, "Range: bytes=5000-\nIf-Range: \"a\"", "416"},
		{"9110 13.1.5: strong comparison, asked weak", strong, "Range: bytes=0-9\nIf-Range: W/\"a\"", "200"},
		{"9110 13.1.5: strong comparison, stored weak", weak, "Range: bytes=0-9\nIf-Range: \"a\"", "200"},
		{"9110 13.1.5: both weak", weak, "Range: bytes=0-9\nIf-Range: W/\"a\"", "200"},
		{"9110 13.1.5: a list", strong, "Range: bytes=0-9\nIf-Range: \"a\", \"b\"", "200"},
		{"9110 13.1.5: two lines", strong, "Range: bytes=0-9\nIf-Range: \"a\"\nIf-Range: \"a\"", "200"},
		{"9110 13.1.5: *", strong, "Range: bytes=0-9\nIf-Range: *", "200"},
		{"9110 13.1.5: the date", modified, "Range: bytes=0-9\nIf-Range: " + hourAgo, "206 0+10"},
		{"9110 13.1.5: a later date", modified, "Range: bytes=0-9\nIf-Range: " + hourLater, "200"},
		{"9110 8.8.2.2: a date that is not strong", "Last-Modified: Wed, 04 Mar 2026 12:00:00 GMT", "Range: bytes=0-9\nIf-Range: Wed, 04 Mar 2026 12:00:00 GMT", "200"},
		{"9110 8.8.2.2: a second before Date it is", "Last-Modified: Wed, 04 Mar 2026 11:59:59 GMT", "Range: bytes=0-9\nIf-Range: Wed, 04 Mar 2026 11:59:59 GMT", "206 0+10"},
		{"9110 13.1.5: no date is stored", strong, "Range: bytes=0-9\nIf-Range: Wed, 04 Mar 2026 12:00:00 GMT", "200"},
		{"9110 8.8.3: a tag without its end is not strong", `ETag: "a`, "Range: bytes=0-9\nIf-Range: \"a", "200"},
		{"9110 8.8.3: nor are two in one", `ETag: "a", "b"`, "Range: bytes=0-9\nIf-Range: \"a\", \"b\"", "200"},
		{"9110 13.1.5: without Range it says nothing", strong, "If-Range: \"b\"", "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := []string{date}
			for line := range splitLines(c.stored) {
				lines = append(lines, line)
			}
			v := cache.ReadValidators(head(t, 200, lines...), noon)
			if got := say(requestOf(c.request).Evaluate(&v, false, 200, 1000)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestConditionsOfOtherAnswers(t *testing.T) {
	v := cache.ReadValidators(head(t, 200, date, `ETag: "a"`, "Last-Modified: "+hourAgo), noon)
	for _, c := range []struct {
		name    string
		request string
		head    bool
		status  int
		length  int64
		want    string
	}{
		{"9110 13.2.1: a redirect", `If-None-Match: "a"`, false, 301, 0, "301"},
		{"9110 13.2.1: not found", `If-None-Match: *`, false, 404, 10, "404"},
		{"9110 13.2.1: an error", "If-Modified-Since: " + hourLater, false, 500, 10, "500"},
		{"9110 14.2: a range of what was not found", "Range: bytes=0-1", false, 404, 10, "404"},
		{"9110 14.2: a range of a 203", "Range: bytes=0-1", false, 203, 10, "203"},
		{"9110 14.2: HEAD has no ranges", "Range: bytes=0-1", true, 200, 10, "200"},
		{"9110 14.2: not even 416", "Range: bytes=100-", true, 200, 10, "200"},
		{"9110 13.1.2: HEAD has conditions", `If-None-Match: "a"`, true, 200, 10, "304"},
		{"9110 13.1.2: a 203 has them", `If-None-Match: "a"`, false, 203, 10, "304"},
		{"9110 14.2: of an empty body", "Range: bytes=0-1", false, 200, 0, "200"},
		{"9110 14.2: of one whose length is not known", "Range: bytes=0-1", false, 200, -1, "200"},
	} {
		if got := say(requestOf(c.request).Evaluate(&v, c.head, c.status, c.length)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	// An edited page has a tag of its own, and no date.
	edited := cache.Validators{ETag: `W/"x"`}
	if got := say(request("If-Modified-Since: "+hourLater).Evaluate(&edited, false, 200, 10)); got != "200" {
		t.Errorf("an answer without any date: %s", got)
	}
	many := request(`If-None-Match: "b"`, `If-None-Match: "b"`, `If-None-Match: "b"`, `If-None-Match: "b"`, `If-None-Match: "b"`,
		`If-None-Match: "b"`, `If-None-Match: "b"`, `If-None-Match: "b"`, `If-None-Match: "a"`)
	if got := say(many.Evaluate(&v, false, 200, 10)); got != "200" {
		t.Errorf("beyond the lines that count: %s", got)
	}
}

func TestContentRange(t *testing.T) {
	for want, o := range map[string]cache.Reply{
		"bytes 5-9/10": {Status: 206, First: 5, Length: 5},
		"bytes */10":   {Status: 416},
	} {
		if got := string(o.AppendContentRange(nil, 10)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestConditionsForTheOrigin(t *testing.T) {
	for _, c := range []struct{ name, lines, want string }{
		{"9111 4.3.1: both", "ETag: W/\"a\"\nLast-Modified: Wed Mar  4 11:00:00 2026", `[[If-None-Match W/"a"] [If-Modified-Since Wed Mar  4 11:00:00 2026]]`},
		{"9111 4.3.1: a date that is none", "Last-Modified: x", "[]"},
		{"9111 4.3.1: nothing", "X: y", "[]"},
	} {
		lines := []string{date}
		for line := range splitLines(c.lines) {
			lines = append(lines, line)
		}
		v := cache.ReadValidators(head(t, 200, lines...), noon)
		if got := fmt.Sprint(v.AppendConditions(nil)); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// RFC 9111, 4.3.2: an answer without Date is as old as its receipt, in whole seconds, as
// a client could not say less.
func TestConditionOfAnUndatedAnswer(t *testing.T) {
	received := noon.Add(time.Second / 2)
	v := cache.ReadValidators(head(t, 200), received)
	if !v.Date.Equal(received) {
		t.Errorf("of %v", v.Date)
	}
	for since, want := range map[string]string{"Wed, 04 Mar 2026 12:00:00 GMT": "304", "Wed, 04 Mar 2026 11:59:59 GMT": "200"} {
		if got := say(request("If-Modified-Since: "+since).Evaluate(&v, false, 200, 10)); got != want {
			t.Errorf("since %s: %s", since, got)
		}
	}
}
