package proxy

import "strings"

// 9211: what Cache-Status says.
func cacheStatusCases() []cacheCase {
	const a = `ETag: "a"`
	return []cacheCase{
		{"9211 2", "our member comes last, behind those of the origin's caches", steps(stored("Cache-Status: Inner; hit; ttl=9").says("fwd=uri-miss"),
			get().hit().says("hit"), get().hit().says("hit"))},
		{"9211 2", "lines of the origin stay", steps(stored(`Cache-Status: Inner; hit`, `Cache-Status: "Second one"; fwd=miss`).says("fwd=uri-miss"), get().hit().says("hit").check(func(r *cacheResult) string {
			if list := strings.Join(r.Header["Cache-Status"], ", "); !strings.HasPrefix(list, `Inner; hit, "Second one"; fwd=miss, `) {
				return list
			}
			return ""
		}))},
		{"9211 2", "what Sedge makes up by itself has none: a 504", steps(get().with("Cache-Control: only-if-cached").gets(504).saysNothing())},
		{"9211 2", "what Sedge makes up by itself has none: a 502", steps(get().down().fails().saysNothing())},
		{"9211 2.1", "hit", steps(stored(), get().hit().says("hit", "!fwd", "!stored", "!fwd-status"))},
		{"9211 2.1", "a 304 of ours is a hit", steps(stored(a), get().with(`If-None-Match: "a"`).hit().gets(304).says("hit", "!fwd"))},
		{"9211 2.1", "a part is a hit", steps(stored().body("0123456789"), get().with("Range: bytes=2-4").hit().part("2-4/10", "234").says("hit", "!fwd"))},
		{"9211 2.1", "stale that is used without asking is a hit", steps(stored(), after(70).with("Cache-Control: max-stale").hit().says("hit", "ttl=-10", "!fwd"))},
		{"9211 2.1", "so it is while the origin is asked behind", steps(get().answer("Cache-Control: max-age=60, stale-while-revalidate=30").fwd(), after(70).answer(fresh).refreshes().of(1).says("hit", "ttl=-10", "!fwd"))},
		{"9211 2.2", "fwd=uri-miss: nothing was there", steps(stored().says("fwd=uri-miss", "!hit"))},
		{"9211 2.2", "fwd=uri-miss for an answer that is not stored", steps(get().answer("Cache-Control: no-store").fwd().says("fwd=uri-miss", "!stored", "!hit"))},
		{"9211 2.2", "fwd=vary-miss", steps(stored("Vary: X-Kind").with("X-Kind: a"), get().with("X-Kind: b").answer(fresh, "Vary: X-Kind").fwd().says("fwd=vary-miss"))},
		{"9211 2.2", "fwd=method", steps(post().answer().fwd().says("fwd=method", "!stored"))},
		{"9211 2.2", "fwd=method for OPTIONS", steps(do("OPTIONS").answer().fwd().says("fwd=method"))},
		{"9211 2.2", "fwd=request: a reload", steps(stored(), get().with("Cache-Control: no-cache").answer(fresh).fwd().says("fwd=request"))},
		{"9211 2.2", "fwd=request: younger was wanted", steps(stored(), after(30).with("Cache-Control: max-age=10").answer(fresh).fwd().says("fwd=request"))},
		{"9211 2.2", "fwd=stale", steps(stored(), after(70).answer(fresh).fwd().says("fwd=stale"))},
		{"9211 2.2", "fwd=bypass: a request that is not for the cache", steps(get().with("Authorization: x").answer().fwd().says("fwd=bypass", "!stored"))},
		{"9211 2.2", "fwd=stale, although stale was used for an error", steps(get().answer("Cache-Control: max-age=60, stale-if-error=30").fwd(), after(70).answers(503).asks(1).of(1).says("fwd=stale", "fwd-status=503", "!hit"))},
		{"9211 2.3", "fwd-status: 304 for what was validated", steps(stored(a), after(70).notModified(fresh, a).validated().says("fwd=stale", "fwd-status=304"))},
		{"9211 2.3", "fwd-status is that of the origin, if any is told", steps(stored().check(func(r *cacheResult) string {
			if list := strings.Join(r.Header["Cache-Status"], ", "); strings.Contains(list, "fwd-status") && !strings.Contains(list, "fwd-status=200") {
				return list
			}
			return ""
		}))},
		{"9211 2.4", "ttl of a hit", steps(stored(), after(10).hit().says("ttl=50"))},
		{"9211 2.4", "ttl counts the age that came", steps(stored("Age: 20"), after(10).hit().says("ttl=30"))},
		{"9211 2.4", "ttl of a targeted field", steps(get().answer("CDN-Cache-Control: max-age=100", fresh).fwd(), after(10).hit().says("ttl=90"))},
		{"9211 2.4", "ttl of what was validated is that from now on", steps(stored(a), after(70).notModified(fresh, a).validated(), after(10).hit().says("hit", "ttl=50"))},
		{"9211 2.5", "stored", steps(stored().says("stored"))},
		{"9211 2.5", "stored, of a part that was asked for, is the whole or nothing", steps(get().with("Range: bytes=2-4").answer(fresh).ranged().body("0123456789").check(rightPart), get().answer(fresh).body("0123456789").gets(200).reads("0123456789"))},
		{"9211 2.5", "not stored: private", steps(get().answer("Cache-Control: private").fwd().says("!stored"))},
		{"9211 2.5", "not stored: a cookie", steps(stored("Set-Cookie: id=1").says("!stored"))},
		{"9211 2.6", "collapsed: all but one of those at once", steps(get().times(4).answer(fresh).fwd().check(func(r *cacheResult) string {
			if n := r.count(func(one reply) bool {
				return isCollapsed(one, "collapsed")
			}); n != 3 {
				return "not 3 of 4 say collapsed: " + strings.Join(r.Header["Cache-Status"], ", ")
			}
			return ""
		}))},
		{"9211 2.6", "collapsed=?0: those who waited for nothing", steps(get().times(4).answer("Cache-Control: private").asks(4).of(-1).check(func(r *cacheResult) string {
			if n := r.count(func(one reply) bool { return isCollapsed(one, "collapsed=?0") }); n != 3 {
				return "not 3 of 4 say collapsed=?0: " + strings.Join(r.Header["Cache-Status"], ", ")
			}
			return ""
		}))},
		{"9211 2.6", "not collapsed: one alone", steps(stored().says("!collapsed"))},
	}
}

func isCollapsed(r reply, parameter string) bool {
	for _, said := range strings.Split(strings.Join(r.Header["Cache-Status"], ", "), ";") {
		if strings.TrimSpace(said) == parameter {
			return true
		}
	}
	return false
}

// 9110 14: parts of a stored whole.
func rangeCases() []cacheCase {
	const digits = "0123456789"
	const a = `ETag: "a"`
	ranged := func(section, name, asked, of, text string) cacheCase {
		return cacheCase{"9110 " + section, name, steps(stored(a).body(digits), get().with("Range: "+asked).hit().part(of, text))}
	}
	whole := func(section, name, asked string) cacheCase {
		return cacheCase{"9110 " + section, name, steps(stored(a).body(digits), get().with("Range: "+asked).hit().gets(200).hasNo("Content-Range"))}
	}
	unsatisfiable := func(name, asked string) cacheCase {
		return cacheCase{"9110 15.5.17", name, steps(stored(a).body(digits), get().with("Range: "+asked).gets(416).asks(0).has("Content-Range: bytes */10"))}
	}
	ifRange := func(name string, lines []string, condition string, part bool) cacheCase {
		s := get().with("Range: bytes=2-4", "If-Range: "+condition).hit()
		if part {
			s.part("2-4/10", "234")
		} else {
			s.gets(200).hasNo("Content-Range")
		}
		return cacheCase{"9110 13.1.5", name, steps(stored(lines...).body(digits), s)}
	}
	lines := func(l ...string) []string { return l }
	return []cacheCase{
		ranged("14.1.2", "from one byte to another", "bytes=2-4", "2-4/10", "234"),
		ranged("14.1.2", "one byte", "bytes=0-0", "0-0/10", "0"),
		ranged("14.1.2", "the last byte", "bytes=9-9", "9-9/10", "9"),
		ranged("14.1.2", "from one byte on", "bytes=7-", "7-9/10", "789"),
		ranged("14.1.2", "the last bytes", "bytes=-3", "7-9/10", "789"),
		ranged("14.1.2", "further than there is", "bytes=5-100", "5-9/10", "56789"),
		ranged("14.1.2", "more of the last than there are", "bytes=-100", "0-9/10", digits),
		ranged("14.1.2", "further than a number can tell", "bytes=5-99999999999999999999", "5-9/10", "56789"),
		ranged("14.1", "the unit in any case", "BYTES=2-4", "2-4/10", "234"),
		whole("14.2", "a unit that nobody knows is ignored", "lines=2-4"),
		whole("14.2", "an end before the beginning is no range", "bytes=4-2"),
		whole("14.2", "letters are no range", "bytes=a-b"),
		whole("14.2", "nothing is no range", "bytes="),
		whole("14.2", "a dash alone is no range", "bytes=-"),
		whole("14.2", "a unit alone is no range", "bytes"),
		whole("14.2", "a sign is no digit", "bytes=+2-4"),
		whole("14.2", "one bad range of several makes all bad", "bytes=2-4,x"),
		whole("14.2", "several ranges get the whole (choice: a server may)", "bytes=0-1,4-5"),
		whole("14.2", "very many ranges get the whole", "bytes=0-1"+strings.Repeat(",0-1", 500)),
		unsatisfiable("a beginning behind the end", "bytes=10-"),
		unsatisfiable("a range behind the end", "bytes=20-30"),
		unsatisfiable("the last zero bytes", "bytes=-0"),
		unsatisfiable("a beginning that no number can tell", "bytes=99999999999999999999-"),
		{"9110 14.4", "Content-Range says nothing on a 200, and is the range's on a 206", steps(stored(a, "Content-Range: x", "content-range: y").body(digits), get().hit(),
			get().with("Range: bytes=2-4").hit().part("2-4/10", "234"))},
		{"9110 14.2", "only for GET", steps(stored(a).body(digits), head().with("Range: bytes=2-4").hit().gets(200).hasNo("Content-Range"))},
		{"9110 14.2", "only of a 200", steps(get().answers(404, fresh).body(digits).fwd(), get().with("Range: bytes=2-4").hit().hasNo("Content-Range"))},
		{"9110 14.2", "of an empty answer no range can be had", steps(stored().body(""), get().with("Range: bytes=0-1").asks(0).getsOneOf(200, 416))},
		{"9110 15.3.7", "a part has the header of the whole, but for its length", steps(stored(a, "X-Own: 1", "Vary: X-Kind", "Content-Location: /x", "Expires: {+60}"), after(10).with("Range: bytes=0-4").hit().gets(206).
			has(a, fresh, "X-Own: 1", "Vary: X-Kind", "Content-Location: /x", "Expires: {+60}", "Date: {+0}", "Age: 10", "Content-Length: 5"))},
		{"9110 15.3.7", "a part of a chunked answer", steps(stored(a).chunked().body(digits), get().with("Range: bytes=2-4").hit().part("2-4/10", "234"))},
		{"9110 15.3.7", "the whole is still there", steps(stored(a).body(digits), get().with("Range: bytes=2-4").hit().part("2-4/10", "234"), get().hit())},
		{"9110 14.2", "a part of what is not stored is right, and so is the whole after it", steps(get().with("Range: bytes=2-4").answer(fresh, a).ranged().body(digits).asks(1).check(rightPart),
			get().answer(fresh, a).body(digits).gets(200).reads(digits), get().with("Range: bytes=5-6").hitOf(0).part("5-6/10", "56"))},
		{"9110 14.2", "a part of what may not be stored is right", steps(get().with("Range: bytes=2-4").answer("Cache-Control: private", a).ranged().body(digits).check(rightPart))},
		{"9110 14.2", "a part of what is stale is cut from the new whole", steps(stored(a).body("abcdefghij"), after(70).with("Range: bytes=2-4").answer(fresh, `ETag: "b"`).ranged().body(digits).check(rightPart),
			get().answer(fresh, `ETag: "b"`).body(digits).gets(200).reads(digits))},
		ifRange("the tag of the stored answer", lines(a), `"a"`, true),
		ifRange("another tag", lines(a), `"b"`, false),
		ifRange("a weak tag never matches: the client's", lines(a), `W/"a"`, false),
		ifRange("a weak tag never matches: the answer's", lines(`ETag: W/"a"`), `W/"a"`, false),
		ifRange("the date of the last change", lines("Last-Modified: {-99999}"), "{-99999}", true),
		ifRange("a later date does not match", lines("Last-Modified: {-99999}"), "{-5}", false),
		ifRange("an earlier date does not match", lines("Last-Modified: {-99999}"), "{-999999}", false),
		ifRange("a date when there is none", lines(a), "{-99999}", false),
		ifRange("a tag when there is none", lines("Last-Modified: {-99999}"), `"a"`, false),
		{"9110 13.1.5", "without a range it means nothing", steps(stored(a).body(digits), get().with(`If-Range: "b"`).hit().gets(200))},
	}
}
