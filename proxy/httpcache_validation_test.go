package proxy

import (
	"fmt"
	"strings"
)

// 9111 4.3.1: what is sent to validate.
func validationCases() []cacheCase {
	const s = "9111 4.3.1"
	const a, modified = `ETag: "a"`, "Last-Modified: {-999}"
	return []cacheCase{
		{s, "the entity tag is sent", steps(stored(a), after(70).notModified(fresh, a).validated().sees(`If-None-Match: "a"`))},
		{s, "a weak one too", steps(stored(`ETag: W/"a"`), after(70).notModified(fresh, `ETag: W/"a"`).validated().sees(`If-None-Match: W/"a"`))},
		{s, "a tag may hold a comma and quotes of another kind", steps(stored(`ETag: "a,'b'"`), after(70).notModified(fresh, `ETag: "a,'b'"`).validated().sees(`If-None-Match: "a,'b'"`))},
		{s, "the date of the last change is sent", steps(stored(modified), after(70).notModified(fresh, modified).validated().sees("If-Modified-Since: {-999}"))},
		{s, "both are sent", steps(stored(a, modified), after(70).notModified(fresh, a, modified).validated().sees(`If-None-Match: "a"`, "If-Modified-Since: {-999}"))},
		{s, "without a validator there is no condition", steps(stored(), after(70).answer(fresh).fwd().seesNo("If-None-Match", "If-Modified-Since"))},
		{s, "what Vary names is sent as well", steps(stored(a, "Vary: X-Kind").with("X-Kind: b"), after(70).with("X-Kind: b").notModified(fresh, a, "Vary: X-Kind").validated().sees("X-Kind: b"))},
		{s, "nothing is validated while it is fresh", steps(stored(a), after(30).hit())},
		{s, "the request of a reload is a condition too", steps(stored(a), get().with("Cache-Control: no-cache").notModified(fresh, a).validated().sees(`If-None-Match: "a"`))},
		{s, "a part is cut from the whole that was validated", steps(stored(a).body("0123456789"), after(70).with("Range: bytes=2-4").notModified(fresh, a).body("0123456789").asks(1).part("2-4/10", "234"))},
		{s, "a HEAD may validate, and gets no body", steps(stored(a), after(70).as("HEAD").notModified(fresh, a).gets(200).asks(1))},
		{s, "redirects are validated too", steps(get().answers(301, fresh, a, "Location: /x").fwd(), after(70).notModified(fresh, a).asks(1).of(1).has("Location: /x"))},
	}
}

// 9111 4.3.2 and 9110 13: conditions of the client that the cache answers.
func conditionCases() []cacheCase {
	const s, precedence = "9111 4.3.2", "9110 13.2.2"
	const a, modified = `ETag: "a"`, "Last-Modified: {-1000}"
	// asked is a stored answer and a request for it under a condition.
	asked := func(first []string, condition ...string) (*cacheStep, *cacheStep) {
		return stored(first...), get().with(condition...)
	}
	unchanged := func(section, name string, first []string, condition ...string) cacheCase {
		one, two := asked(first, condition...)
		return cacheCase{section, name, steps(one, two.hit().gets(304))}
	}
	changed := func(section, name string, first []string, condition ...string) cacheCase {
		one, two := asked(first, condition...)
		return cacheCase{section, name, steps(one, two.hit().gets(200))}
	}
	forwarded := func(name, condition string) cacheCase {
		return cacheCase{s, name, steps(stored(a, modified), get().with(condition).answers(412).fwd().sees(condition))}
	}
	lines := func(l ...string) []string { return l }
	return []cacheCase{
		unchanged(s, "the tag that the client has is not sent again", lines(a), `If-None-Match: "a"`),
		changed(s, "another tag is", lines(a), `If-None-Match: "b"`),
		unchanged(s, "one of a list is enough", lines(a), `If-None-Match: "b", "a" ,"c"`),
		unchanged(s, "one of several lines is enough", lines(a), `If-None-Match: "b"`, `If-None-Match: "a"`),
		unchanged(s, "* stands for whatever there is", lines(a), "If-None-Match: *"),
		unchanged(s, "* stands for an answer without a tag too", nil, "If-None-Match: *"),
		unchanged(s, "tags are compared weakly: the client's is weak", lines(a), `If-None-Match: W/"a"`),
		unchanged(s, "tags are compared weakly: ours is weak", lines(`ETag: W/"a"`), `If-None-Match: "a"`),
		changed(s, "tags are told apart by case", lines(a), `If-None-Match: "A"`),
		unchanged(s, "a tag may hold a comma", lines(`ETag: "a,b"`), `If-None-Match: "x", "a,b"`),
		changed(s, "a part of a tag is no tag", lines(`ETag: "b"`), `If-None-Match: "a,b", "xb"`),
		changed(s, "an answer without a tag matches none", nil, `If-None-Match: "a"`),
		unchanged(s, "unchanged since that very date", lines(modified), "If-Modified-Since: {-1000}"),
		unchanged(s, "unchanged since a later date", lines(modified), "If-Modified-Since: {-500}"),
		changed(s, "changed since an earlier date", lines(modified), "If-Modified-Since: {-1001}"),
		unchanged(s, "the date may be one of RFC 850", lines(modified), "If-Modified-Since: {rfc850 -1000}"),
		changed(s, "an unreadable date is ignored (9110 13.1.3)", lines(modified), "If-Modified-Since: yesterday"),
		unchanged(s, "Date stands in for the date of the last change", lines("Date: {-10}"), "If-Modified-Since: {-10}"),
		changed(s, "and is compared as that", lines("Date: {-10}"), "If-Modified-Since: {-20}"),
		forwarded("If-Match is for the origin", `If-Match: "a"`),
		forwarded("If-Unmodified-Since is for the origin", "If-Unmodified-Since: {-1000}"),
		{s, "a 304 has what the whole would have had (9110 15.4.5)", steps(stored(a, "Vary: X-Kind", "Expires: {+60}", "Content-Location: /x"),
			after(10).with(`If-None-Match: "a"`).hit().gets(304).has(a, fresh, "Vary: X-Kind", "Expires: {+60}", "Content-Location: /x", "Date: {+0}", "Age: 10").hasNo("Content-Encoding"))},
		{s, "a HEAD under a condition is answered alike", steps(stored(a), head().with(`If-None-Match: "a"`).hit().gets(304), head().with(`If-None-Match: "b"`).hit().gets(200))},
		{s, "an answer other than 200 has no conditions (9110 13.2.1)", steps(get().answers(404, fresh, a).fwd(), get().with(`If-None-Match: "a"`).hit())},
		{s, "a condition on what is not stored is not answered by guess", steps(get().with(`If-None-Match: "b"`).answer(fresh, a).honest().gets(200).of(-1).asks(1), get().with(`If-None-Match: "a"`).hit().gets(304))},
		{s, "after a condition the next gets the whole", steps(stored(a), get().with(`If-None-Match: "a"`).hit().gets(304), get().hit())},
		unchanged(precedence, "a tag goes before a date that says changed", lines(a, modified), `If-None-Match: "a"`, "If-Modified-Since: {-2000}"),
		changed(precedence, "a tag goes before a date that says unchanged", lines(a, modified), `If-None-Match: "b"`, "If-Modified-Since: {-1000}"),
		{precedence, "unchanged goes before a range", steps(stored(a).body("0123456789"), get().with(`If-None-Match: "a"`, "Range: bytes=2-4").hit().gets(304))},
		{precedence, "changed, the range counts", steps(stored(a).body("0123456789"), get().with(`If-None-Match: "b"`, "Range: bytes=2-4").hit().part("2-4/10", "234"))},
		{precedence, "If-Match goes before the others, and to the origin", steps(stored(a), get().with(`If-Match: "x"`, `If-None-Match: "a"`).answers(412).fwd())},
	}
}

// 9111 4.3.3 and 4.3.4: what the origin answers to a validation.
func validationAnswerCases() []cacheCase {
	const s, freshen = "9111 4.3.3", "9111 4.3.4"
	const a, b = `ETag: "a"`, `ETag: "b"`
	modified := func(at string) string { return "Last-Modified: {" + at + "}" }
	return []cacheCase{
		{s, "304: the stored answer is used", steps(stored(a), after(70).notModified(fresh, a).validated(), get().hitOf(1))},
		{s, "a whole answer is used, and stored in its place", steps(stored(a), after(70).answer(fresh, b).fwd(), get().hitOf(2).has(b))},
		{s, "a whole answer that may not be stored takes the old one's place all the same", steps(stored(a), after(70).answer("Cache-Control: no-store").fwd(), get().answer(fresh).notOf(1))},
		{s, "404 is a whole answer", steps(stored(a), after(70).answers(404).fwd(), get().answer().notOf(1))},
		{s, "404 is not hidden by stale-if-error", steps(get().answer("Cache-Control: max-age=60, stale-if-error=600").fwd(), after(70).answers(404).fwd())},
		{s, "a redirect is a whole answer", steps(stored(a), after(70).answers(302, "Location: /x").fwd())},
		{s, "the client's own condition is answered by the validated answer: it has it", steps(stored(a), after(70).with(`If-None-Match: "a"`).notModified(fresh, a).asks(1).gets(304).reads(""), get().hitOf(1))},
		{s, "the client's own condition is answered by the validated answer: it has another (MUST be 200)", steps(stored(a), after(70).with(`If-None-Match: "b"`).answer(fresh, a).honest().asks(1).gets(200).whole())},
		{s, "the client's own condition is answered by the new answer: it has it", steps(stored(a), after(70).with(`If-None-Match: "b"`).answer(fresh, b).honest().asks(1).getsOneOf(200, 304), get().answer(fresh, b).gets(200).notOf(1))},
		{s, "304 to a client's condition, with nothing stored, is the client's", steps(get().with(`If-None-Match: "a"`).answer(fresh, a).honest().asks(1).getsOneOf(200, 304))},
		{freshen, "a strong validator picks the answer", steps(stored(a, "X-Own: 1"), after(70).notModified(fresh, a, "X-Own: 2").validated(), get().hitOf(1).has("X-Own: 2"))},
		{freshen, "another strong validator freshens nothing", steps(stored(a), after(70).notModified(fresh, b).check(notFreshened), get().answer(fresh, b).notOf(1))},
		{freshen, "a weak validator picks the answer too", steps(stored(`ETag: W/"a"`), after(70).notModified(fresh, `ETag: W/"a"`).validated(), get().hitOf(1))},
		{freshen, "a 304 without a validator freshens what was asked about (choice: as everybody does)", steps(stored(a), after(70).notModified(fresh).validated(), get().hitOf(1).has(a))},
		{freshen, "a date of change picks the answer", steps(stored(modified("-999")), after(70).notModified(fresh, modified("-999")).validated(), get().hitOf(1))},
		{freshen, "freshened once, it is fresh for everybody", steps(stored(a), after(70).notModified(fresh, a).validated(), after(50).hitOf(1), after(20).notModified(fresh, a).validated().of(1))},
	}
}

// notFreshened wants no answer that the origin said is another one.
func notFreshened(r *cacheResult) string {
	if r.StatusCode == 200 && strings.HasPrefix(r.body, "answer 1.") {
		return "the stored answer was used, though the origin has another one"
	}
	return ""
}

// 9111 4.3.5: a HEAD tells whether a stored answer is still the present one.
func headCases() []cacheCase {
	const s = "9111 4.3.5"
	const a, reload = `ETag: "a"`, "Cache-Control: no-cache"
	return []cacheCase{
		{s, "another tag makes the stored answer stale", steps(stored(a), head().with(reload).answer(fresh, `ETag: "b"`).gets(200), get().answer(fresh, `ETag: "b"`).fwd())},
		{s, "another length makes the stored answer stale", steps(stored(), head().with(reload).answer(fresh).body("another length").gets(200), get().answer(fresh).body("another length").fwd())},
		{s, "another date of change makes the stored answer stale", steps(stored("Last-Modified: {-999}"), head().with(reload).answer(fresh, "Last-Modified: {-9}").gets(200), get().answer(fresh).fwd())},
		{s, "the same validators and length update the header", steps(stored(a, "X-Own: 1").body("same"), after(30).as("HEAD").with(reload).answer(fresh, a, "X-Own: 2").body("same").gets(200),
			after(40).check(func(r *cacheResult) string {
				if r.Header.Get("X-Own") != "2" || r.body != "same" {
					return "the header was not updated: " + headerSet(r.Header)
				}
				return ""
			}).asks(0))},
		{s, "an error to a HEAD changes nothing", steps(stored(a), head().with(reload).answers(500).gets(500), get().hitOf(1))},
	}
}

// 9111 4.4: unsafe requests invalidate.
func invalidationCases() []cacheCase {
	const s = "9111 4.4"
	var cases []cacheCase
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "FOO"} {
		cases = append(cases,
			cacheCase{s, method + " invalidates its target", steps(stored(), do(method).sends("x").answer().fwd(), anew())},
			cacheCase{s, method + " does not if it failed", steps(stored(), do(method).sends("x").answers(400).fwd(), get().hitOf(1))})
	}
	for _, method := range []string{"HEAD", "OPTIONS", "PROPFIND", "REPORT", "SEARCH", "QUERY"} {
		step := do(method).with("Cache-Control: no-cache").answer(fresh)
		if method == "HEAD" {
			step.script.text = "answer 1.1 of it" // see 4.3.5
			cases = append(cases, cacheCase{s, "HEAD is safe", steps(stored().body(step.script.text), step, get().asks(0))})
			continue
		}
		cases = append(cases, cacheCase{s, method + " is safe", steps(stored(), step, get().hitOf(1))})
	}
	for _, status := range []int{201, 204, 302, 303} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d is a success", status), steps(stored(), post().answers(status).fwd(), anew())})
	}
	for _, status := range []int{404, 500, 503} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d is none", status), steps(stored(), post().answers(status).fwd(), get().hitOf(1))})
	}
	return append(cases, []cacheCase{
		{s, "all answers for a target are invalidated, whatever Vary says", steps(stored("Vary: X-Kind").with("X-Kind: a"), get().with("X-Kind: b").answer(fresh, "Vary: X-Kind").fwd(), post().answer().fwd(),
			get().with("X-Kind: a").answer(fresh, "Vary: X-Kind").fwd(), get().with("X-Kind: b").answer(fresh, "Vary: X-Kind").fwd())},
		{s, "the host may be named with the port that the scheme has by default", steps(stored().on("a.example"), post().on("a.example:80").answer().fwd(), post().on("a.example:443").answer().fwd(), get().on("a.example").answer().fwd())},
		{s, "another port is another site", steps(stored().on("a.example"), post().on("a.example:81").answer().fwd(), get().on("a.example").hitOf(1))},
		{s, "other targets are not", steps(stored().at("/a"), stored().at("/a?x"), post().at("/a").answer().fwd(), get().at("/a?x").hitOf(2), get().at("/a").answer().fwd())},
		{s, "Location of the same origin is (choice)", steps(stored().at("/a"), post().at("/b").answers(201, "Location: {path}/a").fwd(), get().at("/a").answer().fwd())},
		{s, "Location of the same origin is, with scheme and host (choice)", steps(stored().at("/a"), post().at("/b").answers(303, "Location: {base}{path}/a").fwd(), get().at("/a").answer().fwd())},
		{s, "Content-Location of the same origin is (choice)", steps(stored().at("/a"), post().at("/b").answer("Content-Location: {path}/a").fwd(), get().at("/a").answer().fwd())},
		{s, "Location of a failure is not", steps(stored().at("/a"), post().at("/b").answers(400, "Location: {path}/a").fwd(), get().at("/a").hitOf(1))},
		{s, "Location of another origin is not (MUST NOT)", steps(stored().at("/a").on("a.example"), post().at("/b").on("b.example").answer("Location: http://a.example{path}/a", "Content-Location: https://a.example{path}/a").fwd(),
			get().at("/a").on("a.example").hitOf(1))},
		{s, "Location of a GET is not", steps(stored().at("/a"), get().at("/b").answers(302, "Location: {path}/a").fwd(), get().at("/a").hitOf(1))},
		{s, "the other host's page stays", steps(stored().on("a.example"), get().on("b.example").answer(fresh).fwd(), post().on("a.example").answer().fwd(), get().on("b.example").hitOf(2), get().on("a.example").answer().fwd())},
		{s, "an origin that is away answered nothing", steps(stored(), post().down().fails(), get().hitOf(1))},
		{s, "after it the page is stored anew", steps(stored(), post().answer().fwd(), stored(), get().hitOf(3))},
	}...)
}
