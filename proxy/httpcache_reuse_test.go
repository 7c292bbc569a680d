package proxy

import (
	"fmt"
	"strings"
)

// 9111 4: when a stored answer may be used.
func reuseCases() []cacheCase {
	const s = "9111 4"
	return []cacheCase{
		{s, "Age is made, and grows", steps(stored(), get().hit().age(0), after(10).hit().age(10), after(20).hit().age(30))},
		{s, "Age replaces the one that came", steps(stored("Age: 5").has("Age: 5"), after(10).hit().age(15))},
		{s, "an answer that was asked for has no Age of ours", steps(stored().hasNo("Age"))},
		{s, "unsafe requests are written through", steps(stored(), post().answer(fresh).fwd().seesMethod("POST"), do("DELETE").answer(fresh).fwd().seesMethod("DELETE"))},
		{s, "the latest answer is used", steps(stored(), get().with("Cache-Control: no-cache").answer(fresh).fwd(), get().hitOf(2))},
		{s, "a later answer that is not storable does not become the stored one", steps(stored(), get().with("Cache-Control: no-cache").answer("Cache-Control: no-store").fwd(), get().answer(fresh).notOf(2))},
		{s, "an answer is used again and again", steps(stored(), get().hit(), get().hit(), get().hit(), after(50).hit())},
		{s, "stale is asked for again, and then fresh", steps(stored(), after(61).answer(fresh).fwd(), after(30).hitOf(2))},
		{s, "a stored answer answers a HEAD without its body (9110 9.3.2)", steps(stored("X-Own: 1"), after(10).as("HEAD").hit().has("X-Own: 1").age(10).check(func(r *cacheResult) string {
			if want := len(r.given[0].text); r.ContentLength != int64(want) {
				return fmt.Sprintf("Content-Length %d, want %d", r.ContentLength, want)
			}
			return ""
		}))},
		{s, "a stored answer does not answer OPTIONS", steps(stored(), do("OPTIONS").answer().fwd())},
		{s, "a redirect is used again with its target", steps(get().answers(301, fresh, "Location: /elsewhere").fwd(), get().hit().has("Location: /elsewhere"))},
		{s, "a large answer is whole again", steps(stored().body(strings.Repeat("0123456789abcdef", 16<<10)), get().hit())},
	}
}

// 9111 2 and 9110 4.2.3: the target URI is the key.
func keyCases() []cacheCase {
	const s = "9111 2"
	other := func(name, one, two string) cacheCase {
		return cacheCase{s, name, steps(stored().at(one), get().at(two).answer(fresh).fwd(), get().at(one).hitOf(1), get().at(two).hitOf(2))}
	}
	return []cacheCase{
		other("another path is another page", "/a", "/b"),
		other("paths are told apart by case", "/a", "/A"),
		other("a slash at the end counts", "/a", "/a/"),
		other("two slashes are not one", "/a/b", "/a//b"),
		other("the query counts", "/a", "/a?x=1"),
		other("each value of the query counts", "/a?x=1", "/a?x=2"),
		other("the order of the query counts", "/a?x=1&y=2", "/a?y=2&x=1"),
		other("an empty query is not none", "/a", "/a?"),
		other("a query is told apart from a path", "/a?b", "/a%3Fb"),
		other("an encoded slash is none", "/a/b", "/a%2Fb"),
		other("a plus is not a space", "/a?x=+", "/a?x=%20"),
		other("a semicolon counts", "/a;x", "/a"),
		{s, "a fragment is no part of a target: it is refused", steps(get().at("/a#b").gets(400).asks(0), get().at("/a").answer(fresh).fwd())},
		{s, "another host is another site", steps(stored().on("a.example"), get().on("b.example").answer(fresh).fwd(), get().on("a.example").hitOf(1), get().on("b.example").hitOf(2))},
		{s, "another port is another site", steps(stored().on("a.example:81"), get().on("a.example:82").answer(fresh).fwd(), get().on("a.example:81").hitOf(1))},
		{s, "hosts are not told apart by case", steps(stored().on("a.example"), get().on("A.Example").hit())},
	}
}

// 9111 4: requests are collapsed into one.
func collapseCases() []cacheCase {
	const s = "9111 4, collapse"
	return []cacheCase{
		{s, "requests for one missing answer become one", steps(get().times(8).answer(fresh).fwd(), get().hit())},
		{s, "so do those for a chunked one", steps(get().times(8).answer(fresh).chunked().fwd(), get().hit())},
		{s, "requests for one stale answer become one validation", steps(stored(`ETag: "a"`), after(70).times(8).notModified(fresh, `ETag: "a"`).validated())},
		{s, "requests for one stale answer that changed become one", steps(stored(`ETag: "a"`), after(70).times(8).answer(fresh, `ETag: "b"`).fwd())},
		{s, "each gets its own if the answer is not storable", steps(get().times(4).answer("Cache-Control: private").asks(4).of(-1).check(noneTwice))},
		{s, "each gets its own if the answer sets a cookie", steps(get().times(4).answer(fresh, "Set-Cookie: id=1").asks(4).of(-1).check(noneTwice))},
		{s, "that an answer is not storable is remembered", steps(get().answer("Cache-Control: private").fwd(), get().times(4).answer("Cache-Control: private").asks(4).of(-1).says("!collapsed"))},
		{s, "and forgotten when it has become storable", steps(get().answer("Cache-Control: private").fwd(), stored(), get().hit(), after(70).times(4).answer(fresh).fwd())},
		{s, "the others are served when the first one fails", steps(get().times(4).answer(fresh).downFor(2).check(mostServed), get().answer(fresh).whole())},
		{s, "those whom Vary tells apart do not share an answer", steps(get().times(6).each("X-Kind: a", "X-Kind: b").answer(fresh, "Vary: X-Kind").gets(200).check(byKind),
			get().with("X-Kind: a").asks(0).gets(200), get().with("X-Kind: b").asks(0).gets(200))},
		{s, "those whom a known Vary tells apart are collapsed apart", steps(stored("Vary: X-Kind"), get().times(6).each("X-Kind: a", "X-Kind: b").answer(fresh, "Vary: X-Kind").asks(2).check(byKind))},
		{s, "POSTs are not collapsed", steps(post().times(4).answer(fresh).asks(4).of(-1).check(noneTwice))},
		{s, "requests with Authorization are not collapsed (DESIGN)", steps(get().with("Authorization: x").times(4).answer(fresh).asks(4).of(-1).check(noneTwice))},
		{s, "an error without a lifetime is everybody's own", steps(get().times(4).answers(500).asks(4).of(-1))},
	}
}

// noneTwice wants another answer for each client of a step.
func noneTwice(r *cacheResult) string {
	if r.count(func(one reply) bool { return one.body == r.body }) > 1 {
		return fmt.Sprintf("two clients got %q", r.body)
	}
	return ""
}

// mostServed wants the origin's answer for all but the two who met its failures.
func mostServed(r *cacheResult) string {
	failed := r.count(func(one reply) bool { return one.StatusCode == 502 })
	if served := r.count(func(one reply) bool { return one.StatusCode == 200 }); failed > 2 || served+failed < len(r.all) {
		return fmt.Sprintf("%d served, %d failed", served, failed)
	}
	return ""
}

// byKind wants clients of one kind, every other one, to share no answer with the others.
func byKind(r *cacheResult) string {
	for i := range r.all {
		if i%2 != r.client%2 && r.all[i].body == r.body {
			return fmt.Sprintf("clients of different kinds got %q", r.body)
		}
	}
	return ""
}

// 9111 4.1: Vary.
func varyCases() []cacheCase {
	const s = "9111 4.1"
	// same and different say how a request matches another by one field.
	same := func(name, field string, one, two []string) cacheCase {
		return cacheCase{s, name, steps(stored("Vary: "+field).with(one...), get().with(two...).hit())}
	}
	different := func(name, field string, one, two []string) cacheCase {
		return cacheCase{s, name, steps(stored("Vary: "+field).with(one...), get().with(two...).answer(fresh, "Vary: "+field).fwd(), get().with(one...).hitOf(1), get().with(two...).hitOf(2))}
	}
	lines := func(l ...string) []string { return l }
	return []cacheCase{
		same("the same value matches", "X-Kind", lines("X-Kind: a"), lines("X-Kind: a")),
		different("another value does not match, and both are kept", "X-Kind", lines("X-Kind: a"), lines("X-Kind: b")),
		same("absent matches absent", "X-Kind", nil, nil),
		different("absent does not match present", "X-Kind", nil, lines("X-Kind: a")),
		different("present does not match absent", "X-Kind", lines("X-Kind: a"), nil),
		different("absent does not match empty", "X-Kind", nil, lines("X-Kind:")),
		same("the names of fields match in any case", "x-KIND", lines("X-Kind: a"), lines("X-Kind: a")),
		different("values of a field that nobody knows are told apart by case", "X-Kind", lines("X-Kind: a"), lines("X-Kind: A")),
		different("and by order", "X-Kind", lines("X-Kind: a, b"), lines("X-Kind: b, a")),
		same("whitespace around commas does not count", "X-Kind", lines("X-Kind: a,b"), lines("X-Kind: a ,  b")),
		same("lines are combined", "X-Kind", lines("X-Kind: a", "X-Kind: b"), lines("X-Kind: a, b")),
		same("a field that Vary does not name does not count", "X-Kind", lines("X-Other: 1"), lines("X-Other: 2")),
		{s, "all fields that Vary names count", steps(stored("Vary: X-One, X-Two").with("X-One: a", "X-Two: a"), get().with("X-One: a", "X-Two: b").answer(fresh, "Vary: X-One, X-Two").fwd(),
			get().with("X-One: b", "X-Two: a").answer(fresh, "Vary: X-One, X-Two").fwd(), get().with("X-Two: a", "X-One: a").hitOf(1))},
		{s, "a value does not slip from one field into the next", steps(stored("Vary: X-One, X-Two").with("X-One: ab", "X-Two: c"), get().with("X-One: a", "X-Two: bc").answer().fwd())},
		{s, "lines of Vary are combined", steps(stored("Vary: X-One", "vary: X-Two").with("X-One: a", "X-Two: a"), get().with("X-One: a", "X-Two: b").answer().fwd())},
		{s, "* never matches", steps(stored("Vary: *"), anew())},
		{s, "* among others never matches", steps(stored("Vary: X-Kind, *").with("X-Kind: a"), get().with("X-Kind: a").answer().fwd())},
		{s, "* on a line of its own never matches", steps(stored("Vary: X-Kind", "Vary: *"), anew())},
		{s, "an empty Vary names nothing", steps(stored("Vary:").with("X-Kind: a"), get().hit())},
		same("codings match in any order (9110 12.5.3)", "Accept-Encoding", lines("Accept-Encoding: gzip, br"), lines("Accept-Encoding: br,gzip")),
		same("codings match in any case", "Accept-Encoding", lines("Accept-Encoding: gzip"), lines("Accept-Encoding: GZip")),
		same("a weight of one is none", "Accept-Encoding", lines("Accept-Encoding: gzip"), lines("Accept-Encoding: gzip;q=1.0")),
		different("a coding of weight zero is not accepted", "Accept-Encoding", lines("Accept-Encoding: gzip"), lines("Accept-Encoding: gzip;q=0")),
		different("other codings do not match", "Accept-Encoding", lines("Accept-Encoding: gzip"), lines("Accept-Encoding: br")),
		different("none does not match some", "Accept-Encoding", nil, lines("Accept-Encoding: gzip")),
		same("languages match in any case", "Accept-Language", lines("Accept-Language: en-GB, en;q=0.5"), lines("Accept-Language: en-gb,en;q=0.5")),
		different("languages do not match by another weight", "Accept-Language", lines("Accept-Language: en, de;q=0.5"), lines("Accept-Language: en;q=0.5, de")),
		different("cookies count if they are named", "Cookie", lines("Cookie: a=1"), lines("Cookie: a=2")),
		same("the visitor's cookie does not, since the origin never sees it (DESIGN)", "Cookie", lines("Cookie: a=1; sedge_vid=x"), lines("Cookie: a=1; sedge_vid=y")),
		different("Origin counts if it is named", "Origin", lines("Origin: https://a.example"), lines("Origin: https://b.example")),
		{s, "the latest Vary decides (choice)", steps(stored("Vary: X-One").with("X-One: a"), get().with("X-One: b", "X-Two: a").answer(fresh, "Vary: X-Two").fwd(), get().with("X-One: b", "X-Two: b").answer(fresh, "Vary: X-Two").fwd(),
			get().with("X-One: c", "X-Two: a").hitOf(2))},
		{s, "an answer with Vary is not for those whom it does not match, whatever else is stored", steps(stored().with("X-Kind: a"),
			get().with("X-Kind: b", "Cache-Control: no-cache").answer(fresh, "Vary: X-Kind").fwd(), get().with("X-Kind: b").hitOf(2), get().with("X-Kind: c").answer(fresh, "Vary: X-Kind").notOf(2))},
		{s, "a miss by Vary is validated only with what may be used", steps(stored("Vary: X-Kind", `ETag: "a"`).with("X-Kind: a"), get().with("X-Kind: b").answer(fresh, "Vary: X-Kind", `ETag: "b"`).fwd())},
		{s, "each of several stored ones is validated by itself", steps(stored("Vary: X-Kind", `ETag: "a"`).with("X-Kind: a"), get().with("X-Kind: b").answer(fresh, "Vary: X-Kind", `ETag: "b"`).fwd(),
			after(70).with("X-Kind: a").notModified(fresh, "Vary: X-Kind", `ETag: "a"`).validated().of(1).sees("X-Kind: a"), get().with("X-Kind: a").hitOf(1), get().with("X-Kind: b").notModified(fresh, "Vary: X-Kind", `ETag: "b"`).validated().of(2))},
		{s, "on an error no other one's answer is used", steps(stored("Vary: X-Kind", "Cache-Control: stale-if-error=600").with("X-Kind: a"), get().with("X-Kind: b").answers(503).fwd())},
	}
}

// 9111 4.2.1: how long an answer is fresh.
func lifetimeCases() []cacheCase {
	const s = "9111 4.2.1"
	cases := []cacheCase{
		{s, "fresh as long as the lifetime is longer than the age", steps(stored(), after(59).hit(), after(2).answer().fwd())},
		{s, "s-maxage goes before a shorter max-age", steps(get().answer("Cache-Control: max-age=1, s-maxage=60").fwd(), after(30).hit())},
		{s, "s-maxage goes before a longer max-age", steps(get().answer("Cache-Control: max-age=60, s-maxage=1").fwd(), after(30).answer().fwd())},
		{s, "s-maxage goes before Expires", steps(get().answer("Cache-Control: s-maxage=60", "Expires: {-10}").fwd(), after(30).hit())},
		{s, "max-age goes before a past Expires", steps(stored("Expires: {-10}"), after(30).hit())},
		{s, "max-age goes before a future Expires", steps(get().answer("Cache-Control: max-age=1", "Expires: {+60}").fwd(), after(30).answer().fwd())},
		{s, "Expires counts beside directives without a lifetime", steps(get().answer("Cache-Control: public", "Expires: {+60}").fwd(), after(30).hit())},
		{s, "Expires counts from Date", steps(get().answer("Date: {-1000}", "Expires: {-940}", "Age: 0").fwd(), anew())},
		{s, "Expires counts from Date, whatever our clock says", steps(get().answer("Date: {+1000}", "Expires: {+1060}").fwd(), after(30).hit(), after(40).answer().fwd())},
		{s, "Expires counts from receipt if there is no Date", steps(get().answer("-Date", "Expires: {+60}").fwd(), after(50).hit(), after(20).answer().fwd())},
		{s, "of two max-ages a longer second one does not count", steps(get().answer("Cache-Control: max-age=10, max-age=60").fwd(), after(30).answer().fwd())},
		{s, "nor on a line of its own", steps(get().answer("Cache-Control: max-age=10", fresh).fwd(), after(30).answer().fwd())},
		{s, "nor of two s-maxages", steps(get().answer("Cache-Control: s-maxage=10, s-maxage=60").fwd(), after(30).answer().fwd())},
		{s, "the most restrictive of max-age and no-cache is honoured", steps(get().answer("Cache-Control: max-age=60, no-cache").fwd(), anew())},
		{s, "the most restrictive of public and private is honoured", steps(get().answer("Cache-Control: public, private, max-age=60").fwd(), anew())},
		{s, "an invalid s-maxage is stale, whatever max-age says (choice)", steps(get().answer("Cache-Control: max-age=60, s-maxage=x").fwd(), anew())},
		{s, "lines are combined", steps(get().answer("Cache-Control: public", fresh).fwd(), get().hit())},
		{s, "a date of RFC 850 is read (9110 5.6.7)", steps(get().answer("Expires: {rfc850 +60}").fwd(), after(30).hit())},
		{s, "a date of asctime is read", steps(get().answer("Expires: {asctime +60}").fwd(), after(30).hit())},
		{s, "dates are read in any case", steps(get().answer("Expires: {lower +60}").fwd(), after(30).hit())},
		{s, "a zone other than GMT is invalid", steps(get().answer("Expires: {zone +36000}").fwd(), anew())},
	}
	cases = append(cases, reused(s, "is read",
		`Cache-Control: max-age="60"`, "Cache-Control: MAX-AGE=60", "Cache-Control: , ,max-age=60,,", "Cache-Control:  \tmax-age=60 ,\tpublic", "Cache-Control: max-age=060",
		`Cache-Control: own="no-store, max-age=0", max-age=60`, `Cache-Control: own="a\"b,no-store", max-age=60`, "Cache-Control: own, max-age=60, x=y", "Cache-Control: max-age=99999999999999999999",
		"Cache-Control: max-age=2147483648", "Cache-Control: max-age=4294967296", "Cache-Control: max-age=9223372036854775808", "Cache-Control: max-age=18446744073709551616")...)
	return append(cases, notReused(s, "is stale",
		"Cache-Control: max-age=0", "Cache-Control: max-age=x", "Cache-Control: max-age=-1", "Cache-Control: max-age=60.5", "Cache-Control: max-age=", "Cache-Control: max-age", "Cache-Control: max-age=60x",
		"Cache-Control: max-age='60'", "Cache-Control: s-maxage=0, max-age=60", "Cache-Control: max-age=1e3", "Cache-Control: xmax-age=60", `Cache-Control: own="max-age=60"`, "Cache-Control: max-age 60")...)
}

// 9111 4.2.2: there are no heuristics.
func heuristicCases() []cacheCase {
	const s = "9111 4.2.2"
	return []cacheCase{
		{s, "an old Last-Modified gives no lifetime (issue 5: heuristics are off)", steps(get().answer("Last-Modified: {-9999999}").fwd(), get().answer("Last-Modified: {-9999999}").honest().asks(1).gets(200).whole())},
		{s, "public gives none either", steps(get().answer("Cache-Control: public", "Last-Modified: {-9999999}").fwd(), get().answer().asks(1).fwd())},
		{s, "an answer with a validator is kept to be validated (choice)", steps(get().answer(`ETag: "a"`).fwd(), get().notModified(`ETag: "a"`).validated().of(1))},
		{s, "explicit freshness goes before any", steps(get().answer("Cache-Control: max-age=1", "Last-Modified: {-9999999}").fwd(), after(30).answer().fwd())},
	}
}

// 9111 4.2.3 and 5.1: how old an answer is.
func ageCases() []cacheCase {
	const s = "9111 4.2.3"
	aged := func(name string, age int, lines ...string) cacheCase {
		return cacheCase{"9111 5.1", name, steps(stored(lines...), after(1).hit().age(age+1))}
	}
	return []cacheCase{
		{s, "Age counts", steps(stored("Age: 50"), after(5).hit().age(55), after(10).answer().fwd())},
		{s, "an answer older than its lifetime is stale at once", steps(stored("Age: 100"), anew())},
		{s, "a past Date counts", steps(stored("Date: {-50}"), after(5).hit().age(55), after(10).answer().fwd())},
		{s, "the greater of Age and the time since Date counts", steps(stored("Date: {-50}", "Age: 10"), after(5).hit().age(55))},
		{s, "the greater of them counts the other way round", steps(stored("Date: {-10}", "Age: 50"), after(5).hit().age(55))},
		{s, "a future Date makes nothing younger", steps(stored("Date: {+1000}"), after(10).hit().age(10), after(51).answer().fwd())},
		{s, "how long the origin took counts", steps(stored("Age: 20").slow(5), after(10).hit().age(35))},
		{s, "it counts without Age too", steps(stored().slow(5), get().hit().age(5), after(56).answer().fwd())},
		{s, "the age begins anew with a validation", steps(stored(`ETag: "a"`), after(70).notModified(fresh, `ETag: "a"`).validated(), after(5).hit().age(5))},
		{s, "the age of a validation counts", steps(stored(`ETag: "a"`), after(70).notModified(fresh, `ETag: "a"`, "Age: 30").validated(), after(5).hit().age(35), after(30).answer().fwd())},
		{s, "an Age of the first answer does not count after a validation without one", steps(stored(`ETag: "a"`, "Age: 50"), after(70).notModified(fresh, `ETag: "a"`).validated(), after(5).hit().age(5))},
		{s, "an unreadable Date is none", steps(stored("Date: yesterday"), after(10).hit().age(10))},
		aged("Age is a number of seconds", 30, "Age: 30"),
		aged("of a list the first counts", 10, "Age: 10, 20"),
		aged("of lines the first counts", 10, "Age: 10", "Age: 20"),
		aged("an invalid one is ignored", 0, "Age: ten"),
		aged("a negative one is ignored", 0, "Age: -5"),
		aged("one with a fraction is ignored", 0, "Age: 7.5"),
		aged("an empty one is ignored", 0, "Age:"),
		{"9111 5.1", "one that is too large for a number is very old", steps(stored("Age: 18446744073709551616"), anew())},
		{"9111 5.1", "one that is too large for a small number is very old", steps(stored("Age: 4294967296"), anew())},
	}
}

// 9111 4.2.4: what is stale is not used unless somebody allows it.
func staleCases() []cacheCase {
	const s = "9111 4.2.4"
	forbidden := func(directive string) cacheCase {
		return cacheCase{s, directive + " forbids it, though the origin is away", steps(get().answer("Cache-Control: max-age=60, "+directive, `ETag: "a"`).fwd(), after(70).down().fails(),
			get().with("Cache-Control: max-stale").down().fails())}
	}
	return []cacheCase{
		forbidden("must-revalidate"), forbidden("proxy-revalidate"), forbidden("s-maxage=60"), forbidden("no-cache"),
		forbidden("must-revalidate, stale-if-error=600"), forbidden("no-cache, stale-if-error=600"), forbidden("proxy-revalidate, stale-if-error=600"),
		{s, "without a permission an error of the origin is the answer (choice: nginx)", steps(stored(`ETag: "a"`), after(70).answers(503).fwd())},
		{s, "after the error the answer can still be validated (choice)", steps(stored(`ETag: "a"`), after(70).answers(503).fwd(), get().notModified(fresh, `ETag: "a"`).validated().of(1))},
		{s, "the origin is asked before stale is used", steps(stored(), after(61).answer(fresh).fwd())},
	}
}
