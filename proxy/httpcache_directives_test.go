package proxy

import "fmt"

// 9111 5.2.1: what a request may say. All of it is advice, which a gateway heeds.
func requestDirectiveCases() []cacheCase {
	const noCache = "Cache-Control: no-cache"
	const a = `ETag: "a"`
	// asked is a request, 30 s after the answer came, that says this.
	asked := func(section, name, directive string, want func(*cacheStep) *cacheStep) cacheCase {
		return cacheCase{"9111 5.2.1." + section, name, steps(stored(), want(after(30).with("Cache-Control: "+directive)))}
	}
	hit := func(s *cacheStep) *cacheStep { return s.hit().age(30) }
	fwd := func(s *cacheStep) *cacheStep { return s.answer(fresh).fwd() }
	return []cacheCase{
		asked("1", "max-age: an older answer is not wanted", "max-age=10", fwd),
		asked("1", "max-age: a younger one is", "max-age=40", hit),
		asked("1", "max-age=0 asks the origin", "max-age=0", fwd),
		asked("1", "a name in any case, a value in quotes", `MAX-AGE="10"`, fwd),
		{"9111 5.2.1.1", "max-age: a stale answer is not wanted, however young", steps(get().answer("Cache-Control: max-age=10").fwd(), after(20).with("Cache-Control: max-age=100").answer(fresh).fwd())},
		{"9111 5.2.1.1", "max-age=0 is answered by validation", steps(stored(a), get().with("Cache-Control: max-age=0").notModified(fresh, a).validated())},
		{"9111 5.2.1.1", "what a reload fetched is for all", steps(stored(), get().with("Cache-Control: max-age=0").answer(fresh).fwd(), get().hitOf(2))},
		{"9111 5.2.1.2", "max-stale: stale by less is accepted", steps(stored(), after(70).with("Cache-Control: max-stale=20").hit().age(70))},
		{"9111 5.2.1.2", "max-stale: stale by more is not", steps(stored(), after(100).with("Cache-Control: max-stale=20").answer(fresh).fwd())},
		{"9111 5.2.1.2", "max-stale without a value: stale by whatever", steps(stored(), after(10000).with("Cache-Control: max-stale").hit().age(10000))},
		{"9111 5.2.1.2", "max-stale does not overrule must-revalidate", steps(get().answer("Cache-Control: max-age=60, must-revalidate").fwd(), after(70).with("Cache-Control: max-stale").answer().fwd())},
		{"9111 5.2.1.2", "max-stale does not overrule proxy-revalidate", steps(get().answer("Cache-Control: max-age=60, proxy-revalidate").fwd(), after(70).with("Cache-Control: max-stale").answer().fwd())},
		{"9111 5.2.1.2", "max-stale does not overrule s-maxage", steps(get().answer("Cache-Control: s-maxage=60").fwd(), after(70).with("Cache-Control: max-stale").answer().fwd())},
		{"9111 5.2.1.2", "max-stale does not overrule no-cache", steps(get().answer("Cache-Control: max-age=60, no-cache").fwd(), after(10).with("Cache-Control: max-stale").answer().fwd())},
		asked("3", "min-fresh: fresh for longer is wanted", "min-fresh=40", fwd),
		asked("3", "min-fresh: fresh for as long", "min-fresh=20", hit),
		asked("4", "no-cache asks the origin", "no-cache", fwd),
		{"9111 5.2.1.4", "no-cache is answered by validation", steps(stored(a), get().with(noCache).notModified(fresh, a).validated())},
		{"9111 5.2.1.4", "no-cache may have been written in any case, among others", steps(stored(), get().with("Cache-Control: own, No-Cache").answer(fresh).fwd())},
		{"9111 5.2.1.4", "on a line of its own", steps(stored(), get().with("Cache-Control: own", noCache).answer(fresh).fwd())},
		{"9111 5.2.1.5", "no-store: the answer is not stored", steps(get().with("Cache-Control: no-store").answer(fresh).fwd(), anew())},
		{"9111 5.2.1.5", "no-store: what is stored stays", steps(stored(), get().with("Cache-Control: no-store").answer(fresh).whole(), get().hitOf(1))},
		{"9111 5.2.1.6", "no-transform: the bytes stay as they are", steps(stored("Content-Encoding: x-own"), get().with("Cache-Control: no-transform").hit().has("Content-Encoding: x-own"))},
		{"9111 5.2.1.7", "only-if-cached: what is stored", steps(stored(), get().with("Cache-Control: only-if-cached").hit())},
		{"9111 5.2.1.7", "only-if-cached: 504 for what is not", steps(get().with("Cache-Control: only-if-cached").gets(504).asks(0))},
		{"9111 5.2.1.7", "only-if-cached: 504 for what is stale", steps(stored(), after(70).with("Cache-Control: only-if-cached").gets(504).asks(0))},
		{"9111 5.2.1.7", "only-if-cached with max-stale: what is stale", steps(stored(), after(70).with("Cache-Control: only-if-cached, max-stale").hit())},
		{"9111 5.2", "the request's directives reach the origin", steps(get().with("Cache-Control: no-cache, own=1").answer(fresh).fwd().sees("Cache-Control: no-cache, own=1"))},
		{"9111 5.2", "the answer's directives reach the client", steps(get().answer(`Cache-Control: max-age=60, own="a,b"`).fwd().has(`Cache-Control: max-age=60, own="a,b"`), get().hit().has(`Cache-Control: max-age=60, own="a,b"`))},
		{"9111 5.2", "those of a request say nothing of the answer", steps(get().with("Cache-Control: max-age=60, public").answer().fwd(), anew())},
		{"9111 5.2.1", "a directive that nobody knows is ignored", steps(stored(), get().with("Cache-Control: own, x=y").hit())},
	}
}

// 9111 5.2.2: what an answer may say.
func responseDirectiveCases() []cacheCase {
	const a = `ETag: "a"`
	control := func(directives string, lines ...string) *cacheStep {
		return get().answer(append([]string{"Cache-Control: " + directives}, lines...)...).fwd()
	}
	return []cacheCase{
		{"9111 5.2.2.1", "max-age is how old an answer may be, not how long it may be kept", steps(control("max-age=60", "Age: 59"), after(5).answer().fwd())},
		{"9111 5.2.2.2", "must-revalidate: fresh is used", steps(control("max-age=60, must-revalidate"), after(30).hit())},
		{"9111 5.2.2.2", "must-revalidate: stale is validated", steps(control("max-age=60, must-revalidate", a), after(70).notModified(fresh, a).validated())},
		{"9111 5.2.2.2", "must-revalidate: an error is told and not hidden", steps(control("max-age=60, must-revalidate, stale-if-error=600", a), after(70).answers(503).fwd())},
		{"9111 5.2.2.2", "must-revalidate gives no lifetime", steps(control("must-revalidate"), anew())},
		{"9111 5.2.2.3", "must-understand overrules no-store for a status that is understood", steps(control("max-age=60, must-understand, no-store"), get().hit())},
		{"9111 5.2.2.3", "must-understand: a status that is not understood is not stored", steps(get().answers(299, "Cache-Control: max-age=60, must-understand").fwd(), get().answers(299).fwd())},
		{"9111 5.2.2.3", "must-understand: nor with no-store", steps(get().answers(499, "Cache-Control: max-age=60, must-understand, no-store").fwd(), get().answers(499).fwd())},
		{"9111 5.2.2.3", "must-understand: a status that is understood is stored", steps(get().answers(404, "Cache-Control: max-age=60, must-understand").fwd(), get().hit())},
		{"9111 5.2.2.3", "must-understand does not overrule private", steps(control("max-age=60, must-understand, no-store, private"), anew())},
		{"9111 5.2.2.4", "no-cache: not used without asking", steps(control("max-age=60, no-cache"), anew())},
		{"9111 5.2.2.4", "no-cache: used once validated", steps(control("max-age=60, no-cache", a), get().notModified("Cache-Control: max-age=60, no-cache", a).validated(), get().notModified("Cache-Control: max-age=60, no-cache", a).validated().of(1))},
		{"9111 5.2.2.4", "no-cache alone: used once validated", steps(control("no-cache", a), get().notModified("Cache-Control: no-cache", a).validated())},
		{"9111 5.2.2.4", "no-cache with s-maxage: not used without asking", steps(control("s-maxage=60, no-cache", a), get().notModified("Cache-Control: no-cache", a).validated())},
		{"9111 5.2.2.5", "no-store: not stored", steps(control("no-store"), anew())},
		{"9111 5.2.2.5", "no-store in any case", steps(control("max-age=60, No-Store"), anew())},
		{"9111 5.2.2.5", "no-store with an argument is one", steps(control("max-age=60, no-store=x"), anew())},
		{"9111 5.2.2.6", "no-transform: the bytes stay as they are", steps(control("max-age=60, no-transform", "Content-Type: text/html", "Content-Encoding: x-own"), get().with("Accept-Encoding: gzip").hit().has("Content-Encoding: x-own"))},
		{"9111 5.2.2.7", "private: not stored", steps(control("private, max-age=60"), anew())},
		{"9111 5.2.2.7", "private with a name of a field (choice: as private)", steps(control(`private="x-own", max-age=60`), anew())},
		{"9111 5.2.2.8", "proxy-revalidate: fresh is used", steps(control("max-age=60, proxy-revalidate"), after(30).hit())},
		{"9111 5.2.2.8", "proxy-revalidate: stale is validated", steps(control("max-age=60, proxy-revalidate", a), after(70).notModified(fresh, a).validated())},
		{"9111 5.2.2.9", "public gives no lifetime", steps(control("public"), anew())},
		{"9111 5.2.2.10", "s-maxage wins over max-age", steps(control("max-age=1, s-maxage=60"), after(10).hit())},
		{"9111 5.2.2.10", "s-maxage: stale is validated", steps(control("s-maxage=60", a), after(70).notModified(fresh, a).validated())},
		{"9111 5.2.2.10", "s-maxage in quotes is read", steps(control(`s-maxage="60"`), after(10).hit())},
		{"9111 5.2.3", "directives that nobody knows are ignored", steps(control("own, x=y, max-age=60"), get().hit())},
		{"9111 5.2.3", "one whose name begins like another is another", steps(control("max-age=60, no-storex, privately, no-cache-x"), get().hit())},
		{"8246 2", "immutable does not make fresh", steps(control("max-age=60, immutable"), after(70).answer().fwd())},
		{"8246 2", "immutable does not stop a reload (choice: it is for the client's own cache)", steps(control("max-age=60, immutable"), get().with("Cache-Control: no-cache").answer().fwd())},
	}
}

// 9111 5.3: Expires.
func expiresCases() []cacheCase {
	const s = "9111 5.3"
	cases := []cacheCase{
		{s, "a future date is fresh until then", steps(get().answer("Expires: {+60}").fwd(), after(50).hit(), after(20).answer().fwd())},
		{s, "a past date is stale", steps(get().answer("Expires: {-10}").fwd(), anew())},
		{s, "the date of the answer is stale", steps(get().answer("Expires: {+0}").fwd(), anew())},
		{s, "of two lines a later second one does not count", steps(get().answer("Expires: {-10}", "Expires: {+60}").fwd(), anew())},
		{s, "a very late date is late", steps(get().answer("Expires: Fri, 01 Jan 2100 00:00:00 GMT").fwd(), after(10000).hit())},
		{s, "the last date that there is, is late", steps(get().answer("Expires: Fri, 31 Dec 9999 23:59:59 GMT").fwd(), after(10000).hit())},
		{s, "it is passed on as it is", steps(get().answer("Expires: {+60}").fwd().has("Expires: {+60}"), after(10).hit().has("Expires: {+60}"))},
		{s, "it is ignored beside max-age, readable or not", steps(stored("Expires: 0"), get().hit())},
		{s, "it is ignored beside s-maxage", steps(get().answer("Cache-Control: s-maxage=60", "Expires: 0").fwd(), get().hit())},
	}
	return append(cases, notReused(s, "an invalid date is past", "Expires: 0", "Expires: -1", "Expires: 60", "Expires:", "Expires: tomorrow", "Expires: 2094-12-01T16:00:00Z",
		"Expires: Thu, 99 Dec 2094 16:00:00 GMT", "Expires: Thu, 01 Dec 2094 25:00:00 GMT", "Expires: Thu, 01 Xyz 2094 16:00:00 GMT", "Expires: Thu, 01 Dec 2094 16:00:00")...)
}

// 9111 5.4 and 5.5: what is no longer in use.
func oldFieldCases() []cacheCase {
	const pragma = "Pragma: no-cache"
	return []cacheCase{
		{"9111 5.4", "Pragma in a request asks the origin (choice)", steps(stored(), get().with(pragma).answer(fresh).fwd())},
		{"9111 5.4", "Pragma counts for nothing beside Cache-Control", steps(stored(), get().with(pragma, "Cache-Control: max-age=50").hit())},
		{"9111 5.4", "Pragma of another kind is ignored", steps(stored(), get().with("Pragma: own").hit())},
		{"9111 5.4", "Pragma in an answer means nothing", steps(stored(pragma), get().hit().has(pragma))},
		{"9111 5.4", "Pragma in an answer gives no lifetime", steps(get().answer(pragma).fwd(), anew())},
		{"9111 5.5", "no Warning is made for a stale answer", steps(stored(), after(70).with("Cache-Control: max-stale").hit().hasNo("Warning"))},
		{"9111 5.5", "a Warning is a field like others", steps(stored(`Warning: 199 - "x"`), get().hit().has(`Warning: 199 - "x"`))},
	}
}

// 5861 3: stale-while-revalidate.
func whileRevalidateCases() []cacheCase {
	const s = "5861 3"
	const a, b = `ETag: "a"`, `ETag: "b"`
	const control = "Cache-Control: max-age=60, stale-while-revalidate=30"
	stale := func(lines ...string) *cacheStep { return get().answer(append([]string{control}, lines...)...).fwd() }
	return []cacheCase{
		{s, "stale is used at once, and asked for behind", steps(stale(), after(70).answer(control).refreshes().of(1).age(70), get().hitOf(2).soon())},
		{s, "it is validated behind", steps(stale(a), after(70).notModified(control, a).refreshes().of(1).sees(`If-None-Match: "a"`), get().hitOf(1).age(0).soon())},
		{s, "later than allowed the origin is waited for", steps(stale(a), after(100).answer(control, b).fwd())},
		{s, "fresh is not asked for", steps(stale(), after(50).hit())},
		{s, "many requests ask once", steps(stale(), after(70).times(6).answer(control).refreshes().of(1), get().hitOf(2).soon())},
		{s, "if the origin fails, stale is used as long as it is allowed", steps(stale(), after(70).answers(503).refreshes().of(1), after(10).answers(503).refreshes().of(1).age(80).soon(), after(20).answers(503).fwd())},
		{s, "if the origin is away, stale is used as long as it is allowed", steps(stale(), after(70).down().of(1))},
		{s, "what may not be stored does not take its place for others", steps(stale(), after(70).answer("Cache-Control: private").refreshes().of(1), get().answer(control).notOf(2))},
		{s, "a reload is not answered by stale", steps(stale(), after(70).with("Cache-Control: no-cache").answer(control).fwd())},
		{s, "nor is max-age=0", steps(stale(), after(70).with("Cache-Control: max-age=0").answer(control).fwd())},
		{s, "must-revalidate forbids it", steps(get().answer(control+", must-revalidate").fwd(), after(70).answer().fwd())},
		{s, "no-cache forbids it", steps(get().answer(control+", no-cache").fwd(), after(10).answer().fwd())},
		{s, "it counts beside s-maxage: who allows it outright means it (choice: Fastly, 9111 5.2.3)", steps(get().answer("Cache-Control: s-maxage=60, stale-while-revalidate=30").fwd(), after(70).answer(fresh).refreshes().of(1))},
		{s, "an unreadable one allows nothing", steps(get().answer("Cache-Control: max-age=60, stale-while-revalidate=x").fwd(), after(70).answer().fwd())},
		{s, "without a value it allows nothing", steps(get().answer("Cache-Control: max-age=60, stale-while-revalidate").fwd(), after(70).answer().fwd())},
		{s, "a part is cut from stale too", steps(stale().body("0123456789"), after(70).with("Range: bytes=2-4").answer(control).body("0123456789").refreshes().part("2-4/10", "234"))},
		{s, "a client who has the stale answer is told so", steps(stale(a), after(70).with(`If-None-Match: "a"`).notModified(control, a).refreshes().gets(304))},
		{s, "what is asked behind is asked for as anybody", steps(stale(a), after(70).with(`If-None-Match: "a"`, "Range: bytes=0-1").answer(control, b).refreshes().gets(304).seesNo("Range"), get().hitOf(2).soon())},
	}
}

// 5861 4: stale-if-error.
func ifErrorCases() []cacheCase {
	const s = "5861 4"
	const control = "Cache-Control: max-age=60, stale-if-error=30"
	stale := func(lines ...string) *cacheStep { return get().answer(append([]string{control}, lines...)...).fwd() }
	var cases []cacheCase
	for _, status := range []int{500, 502, 503, 504} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("stale is used when the origin answers %d", status), steps(stale(), after(70).answers(status).asks(1).of(1).age(70))})
	}
	for _, status := range []int{400, 404, 410, 429, 501} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d is no such error", status), steps(stale(), after(70).answers(status).fwd())})
	}
	for _, status := range []int{408, 421, 425, 429, 431, 501} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d leaves it alone for an error after it", status), steps(stale(), after(70).answers(status).fwd(), after(10).answers(503).asks(1).of(1).age(80))})
	}
	for _, status := range []int{400, 401, 403, 404, 410} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d takes its place", status), steps(stale(), after(70).answers(status).fwd(), after(10).answers(503).fwd())})
	}
	return append(cases, []cacheCase{
		{s, "400 to an odd request does not take its place", steps(stale(), after(70).with("X-Metadata: caf\xe9").answers(400).fwd(), after(10).answers(503).asks(1).of(1))},
		{s, "429 behind the client's back leaves it alone", steps(get().answer("Cache-Control: max-age=60, stale-while-revalidate=20, stale-if-error=90").fwd(), after(70).answers(429).refreshes().of(1), after(30).answers(503).asks(1).of(1).soon())},
		{s, "stale is used when the origin is away", steps(stale(), after(70).down().of(1).age(70))},
		{s, "stale is used when the origin fails to validate", steps(stale(`ETag: "a"`), after(70).answers(500).asks(1).of(1))},
		{s, "later than allowed the error is told", steps(stale(), after(100).answers(500).fwd())},
		{s, "later than allowed it is told that the origin is away", steps(stale(), after(100).down().fails())},
		{s, "the origin is asked each time", steps(stale(), after(70).answers(500).asks(1).of(1), get().answers(500).asks(1).of(1), get().answer(fresh).fwd(), get().hitOf(4))},
		{s, "it does not make fresh", steps(stale(), after(70).answer(fresh).fwd())},
		{s, "many requests get stale by one error", steps(stale(), after(70).times(6).answers(503).asks(1).of(1))},
		{s, "many requests get stale by one origin that is away", steps(stale(), after(70).times(6).down().asks(1).of(1))},
		{s, "an unreadable one allows nothing", steps(get().answer("Cache-Control: max-age=60, stale-if-error=x").fwd(), after(70).answers(500).fwd())},
		{s, "an error with a lifetime does not take the place of what may be used", steps(stale(), after(70).answers(503, "Cache-Control: max-age=5").asks(1).of(1))},
	}...)
}

// 9213: fields for caches of our kind.
func targetedCases() []cacheCase {
	const field = "CDN-Cache-Control: "
	hit := func(section, name string, lines ...string) cacheCase {
		return cacheCase{"9213 " + section, name, steps(get().answer(lines...).fwd(), after(30).hit())}
	}
	miss := func(section, name string, lines ...string) cacheCase {
		return cacheCase{"9213 " + section, name, steps(get().answer(lines...).fwd(), after(30).answer().fwd())}
	}
	return []cacheCase{
		hit("2.2", "the targeted field alone gives a lifetime", field+"max-age=60"),
		hit("2.2", "it goes before a shorter Cache-Control", field+"max-age=60", "Cache-Control: max-age=1"),
		miss("2.2", "it goes before a longer Cache-Control", field+"max-age=1", fresh),
		hit("2.2", "it goes before Expires", field+"max-age=60", "Expires: {-10}"),
		miss("2.2", "a later Expires does not count beside it", field+"max-age=1", "Expires: {+60}"),
		miss("2.2", "Expires does not count beside one without a lifetime", field+"public", "Expires: {+60}"),
		hit("2.2", "it goes before no-store in Cache-Control (MUST ignore)", field+"max-age=60", "Cache-Control: no-store"),
		hit("2.2", "it goes before no-cache in Cache-Control", field+"max-age=60", "Cache-Control: no-cache"),
		miss("2.2", "its no-store counts", field+"no-store", fresh),
		miss("2.2", "its private counts", field+"max-age=60, private", fresh),
		miss("2.2", "its no-cache counts", field+"max-age=60, no-cache", fresh),
		miss("2.2", "no-store makes max-age inoperative", field+"max-age=60, no-store"),
		hit("2.2", "its s-maxage counts", field+"max-age=1, s-maxage=60"),
		hit("2.2", "directives that nobody knows are ignored", field+"own, max-age=60, x=y"),
		{"9213 2.2", "its must-revalidate counts", steps(get().answer(field+"max-age=60, must-revalidate", "Cache-Control: max-age=60, stale-if-error=600").fwd(), after(70).answers(500).fwd())},
		{"9213 2.2", "the permissions of Cache-Control do not count beside it", steps(get().answer(field+"max-age=60", "Cache-Control: max-age=60, stale-if-error=600").fwd(), after(70).answers(500).fwd())},
		{"9213 2.2", "its stale-while-revalidate counts", steps(get().answer(field+"max-age=60, stale-while-revalidate=30").fwd(), after(70).answer(fresh).refreshes().of(1))},
		{"9213 2.2", "no-cache: used once validated", steps(get().answer(field+"no-cache", fresh, `ETag: "a"`).fwd(), get().notModified(field+"no-cache", `ETag: "a"`).validated())},
		{"9213 2.2", "our own field goes before it (DESIGN)", steps(get().answer("Sedge-Cache-Control: max-age=60", field+"no-store", "Cache-Control: no-store").fwd(), after(30).hit())},
		{"9213 2.2", "our own field forbids before it (DESIGN)", steps(get().answer("Sedge-Cache-Control: no-store", field+"max-age=60", fresh).fwd(), anew())},
		{"9213 2.2", "our own field, if invalid, is passed over", steps(get().answer("Sedge-Cache-Control: =", field+"max-age=60", "Cache-Control: no-store").fwd(), after(30).hit())},
		{"9213 2.2", "fields for others mean nothing, and are passed on", steps(get().answer("Other-Cache-Control: max-age=60", "Surrogate-Control: max-age=60").fwd().has("Other-Cache-Control: max-age=60"), anew())},
		{"9213 2.2", "the client sees Cache-Control as it was", steps(get().answer(field+"max-age=60", "Cache-Control: max-age=5").fwd().has("Cache-Control: max-age=5"), after(30).hit().has("Cache-Control: max-age=5").age(30))},
		hit("2.1", "an empty one is ignored", field, fresh),
		miss("2.1", "an empty one gives nothing", field, "Cache-Control: no-store"),
		hit("2.1", "one that cannot be parsed is ignored: no name", field+"max-age=1, =", fresh),
		hit("2.1", "one that cannot be parsed is ignored: an open quote", field+`own="x, max-age=1`, fresh),
		hit("2.1", "one that cannot be parsed is ignored: no comma", field+"max-age=1 public", fresh),
		hit("2.1", "one that cannot be parsed is ignored: a comma at the end", field+"max-age=1,", fresh),
		hit("2.1", "one that cannot be parsed is ignored: capitals in a name", field+"Max-Age=1", fresh),
		miss("2.1", "one that cannot be parsed gives nothing", field+"max-age=60, &", "Cache-Control: no-store"),
		hit("2.1", "parameters are ignored", field+"max-age=60;own=1;x"),
		hit("2.1", "lines are combined", field+"public", field+"max-age=60"),
		hit("2.1", "of two the last one counts (8941 3.2)", field+"max-age=1, max-age=60"),
		miss("2.1", "a fraction is no lifetime (SHOULD NOT be consumed)", field+"max-age=60.5", fresh),
		miss("2.1", "a string is no lifetime", field+`max-age="60"`, fresh),
		miss("2.1", "a lifetime needs a value", field+"max-age", fresh),
		miss("2.1", "a negative one is stale", field+"max-age=-60", fresh),
	}
}
