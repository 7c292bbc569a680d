package proxy

import (
	"fmt"
	"slices"
	"strings"
)

// httpCacheCases is the whole table. Each case is written from the sentences of the RFC
// whose section it names; what the RFC leaves open says in brackets who decides:
//
//   - (DESIGN): a promise of this project;
//   - (choice): what users of nginx, Varnish or Fastly expect, or the stricter of two.
func httpCacheCases() []cacheCase {
	return slices.Concat(
		storingCases(), statusCases(), headerStorageCases(), updateCases(), incompleteCases(), authorizationCases(),
		reuseCases(), keyCases(), collapseCases(), varyCases(),
		lifetimeCases(), heuristicCases(), ageCases(), staleCases(),
		validationCases(), conditionCases(), validationAnswerCases(), headCases(), invalidationCases(),
		requestDirectiveCases(), responseDirectiveCases(), expiresCases(), oldFieldCases(),
		whileRevalidateCases(), ifErrorCases(), targetedCases(), cacheStatusCases(), rangeCases(),
	)
}

// fresh gives an answer a minute.
const fresh = "Cache-Control: max-age=60"

// stored is a request whose answer may be used for a minute, with these lines besides.
func stored(lines ...string) *cacheStep {
	return get().answer(append([]string{fresh}, lines...)...).fwd()
}

// anew is the request of a client who must get an answer of its own.
func anew() *cacheStep { return get().answer().fwd() }

// reused makes cases of answers that are used again.
func reused(section, name string, answers ...string) []cacheCase {
	var cases []cacheCase
	for _, line := range answers {
		cases = append(cases, cacheCase{section, name + ": " + line, steps(get().answer(line).fwd(), after(30).hit())})
	}
	return cases
}

// notReused makes cases of answers that are not used again as they are.
func notReused(section, name string, answers ...string) []cacheCase {
	var cases []cacheCase
	for _, line := range answers {
		cases = append(cases, cacheCase{section, name + ": " + line, steps(get().answer(line).fwd(), after(30).answer().fwd())})
	}
	return cases
}

// 9111 3: which answers may be stored.
func storingCases() []cacheCase {
	const s = "9111 3"
	const html = "Content-Type: text/html"
	cases := []cacheCase{
		{s, "an answer with max-age is used again", steps(stored(), get().hit())},
		{s, "an answer with s-maxage is used again", steps(get().answer("Cache-Control: s-maxage=60").fwd(), get().hit())},
		{s, "an answer with Expires is used again", steps(get().answer("Expires: {+60}").fwd(), get().hit())},
		{s, "public and max-age go together", steps(get().answer("Cache-Control: public, max-age=60").fwd(), get().hit())},
		{s, "no-store is not stored, whatever else is said", steps(get().answer("Cache-Control: no-store, max-age=60, public").fwd(), anew())},
		{s, "private is not stored, whatever else is said", steps(get().answer("Cache-Control: private, max-age=60, s-maxage=60").fwd(), anew())},
		{s, "no-store on a line of its own counts", steps(get().answer(fresh, "Cache-Control: no-store").fwd(), anew())},
		{s, "nothing at all is not used again", steps(get().answer().fwd(), anew())},
		{s, "a method that nobody knows is not answered from the cache", steps(stored(), do("FOO").answer(fresh).fwd(), do("FOO").answer(fresh).fwd())},
		{s, "the answer to a method that nobody knows does not answer a GET", steps(do("FOO").answer(fresh).fwd(), anew())},
		{s, "the answer to a POST does not answer a POST", steps(post().answer(fresh).fwd(), post().answer().fwd())},
		{s, "the answer to a POST does not answer a GET (choice: not stored)", steps(post().answer(fresh, "Content-Location: {path}/page").fwd(), anew())},
		{s, "the answer to a PUT does not answer a GET", steps(do("PUT").sends("x").answer(fresh).fwd(), anew())},
		{s, "the answer to OPTIONS does not answer a GET", steps(do("OPTIONS").answer(fresh).fwd(), anew())},
		{s, "the answer to OPTIONS does not answer OPTIONS", steps(do("OPTIONS").answer(fresh).fwd(), do("OPTIONS").answer(fresh).fwd())},
		{s, "the answer to a HEAD does not answer a GET", steps(head().answer(fresh).gets(200), get().answer(fresh).whole().check(hasText))},
		{s, "a part that was asked for is not the whole", steps(get().with("Range: bytes=2-4").answer(fresh).ranged().body("0123456789").getsOneOf(200, 206),
			get().answer(fresh).body("0123456789").gets(200).reads("0123456789").hasNo("Content-Range"))},
		{s, "a 304 that the client asked for is no answer for the next", steps(get().with(`If-None-Match: "a"`).answer(fresh, `ETag: "a"`).honest().getsOneOf(200, 304),
			get().answer(fresh, `ETag: "a"`).gets(200).whole())},
		{s, "a request with a body is not answered from the cache (choice)", steps(stored(), get().sends("x=1").answer(fresh).fwd(), get().hitOf(1))},
		{s, "a Cookie in the request does not keep an answer from being stored", steps(stored("Content-Type: image/png").with("Cookie: a=1"), get().with("Cookie: a=2").hit(), get().hit())},
		{s, "with cookies max-age alone means nobody else, whatever Vary of other headers says (choice)", steps(stored("Vary: X-Kind", html).with("Cookie: a=1"), stored("Vary: X-Kind", html), get().with("Cookie: a=1").answer().fwd(), get().hitOf(2))},
		{s, "plain text that was kept of somebody without cookies is for all (choice: the public suite), and nobody else's is kept", steps(stored().with("Cookie: a=1"), stored(), get().with("Cookie: a=1").hitOf(2))},
		{s, "so it does for a key in a header that Vary does not name (choice)", steps(stored("Vary: Cookie", html).with("X-Api-Key: 1", "Cookie: a=1"), get().with("Cookie: a=1").answer().fwd())},
	}
	for _, line := range []string{"-Content-Type", "Content-Type: text/csv", "Content-Type: application/pdf", "Content-Type: application/xml", "Content-Type: Text/HTML; charset=utf-8",
		"Content-Type: application/json", "Content-Type: application/octet-stream", "Content-Type: application/x-own", "Content-Type: image", "Content-Type: text"} {
		cases = append(cases,
			cacheCase{s, "with cookies max-age alone means nobody else (choice): " + line, steps(stored(line).with("Cookie: a=1"), stored(line), get().with("Cookie: a=1").answer().fwd(), get().hitOf(2))},
			cacheCase{s, "public means everybody: " + line, steps(get().with("Cookie: a=1").answer("Cache-Control: public, max-age=60", line).fwd(), get().with("Cookie: a=2").hit())})
	}
	for _, line := range []string{"Content-Type: image/png", "Content-Type: Image/SVG+xml", "Content-Type: font/woff2", "Content-Type: text/css; charset=utf-8", "Content-Type: text/javascript",
		"Content-Type: application/javascript", "Content-Type: application/wasm", "Content-Type: video/mp4", "Content-Type: audio/ogg", "Content-Type: application/manifest+json"} {
		cases = append(cases, cacheCase{s, "files of a site are everybody's: " + line, steps(stored(line).with("Cookie: a=1"), get().with("Cookie: a=2").hit())})
	}
	for _, line := range []string{"Set-Cookie: id=1", "set-cookie: id=1", "SET-COOKIE: id=1; Max-Age=60"} {
		cases = append(cases, cacheCase{s, "an answer that sets a cookie is nobody else's (DESIGN): " + line, steps(stored(line).has("Set-Cookie:"+line[11:]), anew())})
	}
	return append(cases, []cacheCase{
		{s, "not even public stores a cookie (DESIGN)", steps(get().answer("Cache-Control: public, s-maxage=60", "Set-Cookie: id=1").fwd(), anew())},
		{s, "nor does a targeted field (DESIGN)", steps(get().answer("CDN-Cache-Control: max-age=60", "Set-Cookie: id=1").fwd(), anew())},
		{s, "an answer with a cookie leaves what is stored alone", steps(stored(), get().with("Cache-Control: no-cache").answer(fresh, "Set-Cookie: id=1").fwd(), get().hasNo("Set-Cookie").notOf(2).answer(fresh))},
		{s, "a stored page gives nobody a visitor's cookie (DESIGN)", steps(stored("Content-Type: text/html").hasNo("Set-Cookie").has(fresh), get().with("Accept: text/html").hit().hasNo("Set-Cookie").has(fresh))},
	}...)
}

// hasText wants a body.
func hasText(r *cacheResult) string {
	if r.body == "" {
		return "there is no body"
	}
	return ""
}

// 9111 3 and 9110 15: an explicit lifetime makes every final status storable, and without
// one there are no heuristics.
func statusCases() []cacheCase {
	const s = "9111 3, status"
	var cases []cacheCase
	for _, status := range []int{200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 500, 501, 503, 299, 499} {
		lines := []string{fresh}
		if status/100 == 3 {
			lines = append(lines, "Location: {path}/elsewhere")
		}
		cases = append(cases,
			cacheCase{s, fmt.Sprintf("%d with a lifetime is used again", status), steps(get().answers(status, lines...).fwd(), after(30).hit())},
			cacheCase{s, fmt.Sprintf("%d without one is not (heuristics are off)", status), steps(get().answers(status, append(lines[1:], "Last-Modified: {-999999}")...).fwd(), get().answers(status).asks(1))})
	}
	// What a hostile visitor makes the origin fail by, to have everybody see it fail.
	for name, line := range map[string]string{
		"half a large head": "X-Metadata: " + strings.Repeat("x", 5<<10), "large cookies": "Cookie: a=" + strings.Repeat("x", 5<<10), "an odd byte": "X-Metadata: caf\xe9",
		"what a store of files obeys": "x-amz-server-side-encryption: evil", "what a framework obeys": "X-Nextjs-Data: evil",
	} {
		for _, status := range []int{400, 403, 500, 501, 503} {
			cases = append(cases, cacheCase{s, fmt.Sprintf("%d to a request with %s is nobody else's (choice)", status, name), steps(get().with(line).answers(status, "Cache-Control: public, max-age=60").fwd(), anew())})
		}
		cases = append(cases, cacheCase{s, "404 to a request with " + name + " is (choice)", steps(get().with(line).answers(404, "Cache-Control: public, max-age=60").fwd(), get().hit())})
	}
	for _, status := range []int{401, 402, 406, 409, 415, 422, 423, 424, 429} {
		cases = append(cases, cacheCase{s, fmt.Sprintf("%d is about one request (choice)", status), steps(get().answers(status, fresh).fwd(), anew())})
	}
	return append(cases,
		cacheCase{s, "404 with Expires is used again", steps(get().answers(404, "Expires: {+60}").fwd(), get().hit())},
		cacheCase{s, "206 that nobody asked for is not used as a whole", steps(get().answers(206, fresh, "Content-Range: bytes 0-4/10").body("01234"), get().answer(fresh).body("0123456789").gets(200).reads("0123456789"))},
		cacheCase{s, "206 of several parts that nobody asked for is not used as a whole", steps(get().answers(206, fresh, "Content-Type: multipart/byteranges; boundary=x").fwd(), get().answer(fresh).fwd())},
		cacheCase{s, "500 without a lifetime is not used again", steps(get().answers(500).fwd(), anew())},
	)
}

// 9111 3.1: header and trailer fields.
func headerStorageCases() []cacheCase {
	const s = "9111 3.1"
	cases := []cacheCase{
		{s, "all fields are stored, known or not", steps(stored("X-Unknown: 1", "Content-Language: en", `ETag: "a"`, "Last-Modified: {-999}", "Content-Type: application/x-own",
			"Content-Disposition: inline", "Strict-Transport-Security: max-age=1", "Server: s"), get().hit().alike())},
		{s, "lines of one name stay a list", steps(stored("Link: <a>", "Link: <b>", "link: <c>").has("Link: <a>, <b>, <c>"), get().hit().has("Link: <a>, <b>, <c>"))},
		{s, "a field may be empty", steps(stored("X-Empty:"), get().hit().alike())},
		{s, "names may be spelled in any way", steps(get().answer("CACHE-CONTROL: max-age=60", "x-oDD: 1").fwd(), get().hit().has("X-Odd: 1"))},
		{s, "Connection and what it names is not stored", steps(stored("Connection: X-Hop, keep-alive", "X-Hop: 1", "X-Stays: 1"), get().hit().hasNo("X-Hop", "Connection").has("X-Stays: 1"))},
		{s, "the origin's Date is kept", steps(stored("Date: {-5}"), after(10).hit().has("Date: {-5}"))},
		{s, "an answer without Date gets that of its receipt (9110 6.6.1)", steps(stored("-Date").has("Date: {+0}"), after(10).hit().has("Date: {+0}").age(10))},
		{s, "a chunked answer is whole again", steps(stored().chunked(), get().hit())},
		{s, "an empty answer is an answer", steps(stored().body(""), get().hit().reads(""))},
		{s, "trailers do not become headers", steps(stored("Trailer: X-Sum").trail("X-Sum: 42"), get().hit().hasNo("X-Sum"))},
		{s, "an answer that ends with its connection comes whole each time", steps(get().answer(fresh).ends("close").fwd(), get().answer(fresh).ends("close").whole())},
		{s, "the content coding stays with the bytes", steps(stored("Content-Encoding: x-own", "Vary: Accept-Encoding"), get().hit().has("Content-Encoding: x-own"))},
		{s, `no-cache="X" keeps the field from being used without validation (choice: as no-cache)`, steps(get().answer(`Cache-Control: max-age=60, no-cache="X-Own"`, "X-Own: 1").fwd(),
			get().answer().fwd().hasNo("X-Own"))},
		{s, `private="X" keeps the field from being stored (choice: as private)`, steps(get().answer(`Cache-Control: max-age=60, private="X-Own"`, "X-Own: 1").fwd(), get().answer().fwd().hasNo("X-Own"))},
		{s, `private=X without quotes counts too`, steps(get().answer(`Cache-Control: max-age=60, private=x-own`, "X-Own: 1").fwd(), anew())},
	}
	for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Upgrade", "TE"} {
		cases = append(cases, cacheCase{s, name + " is not stored", steps(stored(name+": x"), get().hit().hasNo(name))})
	}
	return cases
}

// 9111 3.2: a 304 updates the stored header.
func updateCases() []cacheCase {
	const s = "9111 3.2"
	const a = `ETag: "a"`
	// updated is what the next visitor gets after a 304 with these lines.
	updated := func(first []string, lines ...string) []*cacheStep {
		return steps(stored(append(first, a)...), after(70).notModified(append([]string{fresh, a}, lines...)...).validated(), get().hitOf(1).age(0))
	}
	with := func(s []*cacheStep, last func(*cacheStep) *cacheStep) []*cacheStep { last(s[len(s)-1]); return s }
	return []cacheCase{
		{s, "a field of the 304 replaces the stored one", with(updated([]string{"X-Own: 1"}, "X-Own: 2"), func(s *cacheStep) *cacheStep { return s.has("X-Own: 2") })},
		{s, "all stored lines of a name are replaced", with(updated([]string{"X-Own: 1", "X-Own: 2"}, "x-own: 3"), func(s *cacheStep) *cacheStep { return s.has("X-Own: 3") })},
		{s, "a field that was not there is added", with(updated(nil, "X-New: 1"), func(s *cacheStep) *cacheStep { return s.has("X-New: 1") })},
		{s, "a field that the 304 does not have stays", with(updated([]string{"X-Own: 1"}), func(s *cacheStep) *cacheStep { return s.has("X-Own: 1") })},
		{s, "the client who waits sees the update", steps(stored(a, "X-Own: 1"), after(70).notModified(fresh, a, "X-Own: 2").validated().has("X-Own: 2"))},
		{s, "Content-Length is not updated", with(updated(nil, "Content-Length: 3"), func(s *cacheStep) *cacheStep { return s })},
		{s, "the content coding of the stored bytes is not updated: they depend on it", with(updated([]string{"Content-Encoding: x-own"}, "Content-Encoding: x-other"), func(s *cacheStep) *cacheStep { return s.has("Content-Encoding: x-own") })},
		{s, "Content-Type is: Content- is no mark of what is left out", with(updated(nil, "Content-Type: text/x-other"), func(s *cacheStep) *cacheStep { return s.has("Content-Type: text/x-other") })},
		{s, "Content-Range does not get into a whole", with(updated(nil, "Content-Range: bytes 0-1/9"), func(s *cacheStep) *cacheStep { return s.hasNo("Content-Range") })},
		{s, "what Connection names is not added", with(updated(nil, "Connection: X-Hop", "X-Hop: 1"), func(s *cacheStep) *cacheStep { return s.hasNo("X-Hop") })},
		{s, "a cookie of the 304 is nobody else's (DESIGN)", steps(stored(a), after(70).notModified(fresh, a, "Set-Cookie: id=1").asks(1), get().notModified(fresh, a).hasNo("Set-Cookie"))},
		{s, "nor is what else a 304 says that sets a cookie (DESIGN)", steps(stored(a), after(70).notModified(fresh, a, "Set-Cookie: id=1", "X-Token: one").asks(1), get().notModified(fresh, a).asks(1).hasNo("X-Token", "Set-Cookie"))},
		{s, "no-store in the 304 ends its use", steps(stored(a), after(70).notModified("Cache-Control: no-store", a).asks(1), get().answer().asks(1))},
		{s, "private in the 304 ends its use", steps(stored(a), after(70).notModified("Cache-Control: private, max-age=60", a).asks(1), get().answer().asks(1))},
		{s, "another lifetime in the 304 counts", steps(stored(a), after(70).notModified("Cache-Control: max-age=100", a).validated(), after(90).hitOf(1).has("Cache-Control: max-age=100"), after(20).answer().fwd())},
		{s, "without another one the old lifetime counts anew", steps(stored(a), after(70).notModified(a).validated(), after(50).hitOf(1).age(50), after(20).answer().fwd())},
		{s, "the date of the 304 replaces the stored one", steps(stored(a), after(70).notModified(a).validated(), after(10).hitOf(1).has("Date: {+70}"))},
		{s, "Expires of the 304 replaces the stored one", steps(get().answer("Expires: {+60}", a).fwd(), after(70).notModified("Expires: {+130}", a).validated(), after(50).hitOf(1), after(20).answer().fwd())},
	}
}

// 9111 3.3 and 3.4: incomplete answers.
func incompleteCases() []cacheCase {
	return []cacheCase{
		{"9111 3.3", "an answer cut before its length is not used", steps(get().answer(fresh).ends("cut").breaks(), anew())},
		{"9111 3.3", "a chunked answer cut before its end is not used", steps(get().answer(fresh).chunked().ends("cut").breaks(), anew())},
		{"9111 3.3", "a cut answer leaves what is stored alone", steps(stored(`ETag: "a"`), after(70).answer(fresh, `ETag: "b"`).ends("cut").breaks(),
			get().notModified(fresh, `ETag: "a"`).gets(200).whole().notOf(2))},
		{"9111 3.3", "a part is marked by 206", steps(get().with("Range: bytes=2-4").answer(fresh).ranged().body("0123456789").getsOneOf(200, 206).check(rightPart))},
		{"9111 3.4", "two parts do not make a whole that was not asked for", steps(
			get().with("Range: bytes=0-4").answer(fresh, `ETag: "a"`).ranged().body("0123456789").check(rightPart),
			get().with("Range: bytes=5-8").answer(fresh, `ETag: "b"`).ranged().body("abcdefghij").getsOneOf(200, 206),
			get().answer(fresh).body("0123456789").gets(200).check(func(r *cacheResult) string {
				if r.body != "0123456789" && r.body != "abcdefghij" {
					return fmt.Sprintf("%q", r.body)
				}
				return ""
			}))},
	}
}

// rightPart wants the whole of ten digits, or just the part that the answer says it is.
func rightPart(r *cacheResult) string {
	const digits = "0123456789"
	var from, to, size int
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); r.StatusCode == 206 && (err != nil || to >= len(digits) || r.body != digits[from:to+1]) ||
		r.StatusCode == 200 && r.body != digits {
		return fmt.Sprintf("%d %q %q", r.StatusCode, r.Header.Get("Content-Range"), r.body)
	}
	return ""
}

// 9111 3.5: Authorization. DESIGN promises more than the RFC: such answers are not stored.
func authorizationCases() []cacheCase {
	const s, auth = "9111 3.5", "Authorization: Basic dTpw"
	var cases []cacheCase
	for _, control := range []string{"max-age=60", "public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"} {
		cases = append(cases, cacheCase{s, "an answer to Authorization is nobody else's (DESIGN), though it says " + control,
			steps(get().with(auth).answer("Cache-Control: "+control).fwd(), anew(), get().with(auth).answer().fwd())})
	}
	return append(cases,
		cacheCase{s, "nor is it with a targeted field (DESIGN)", steps(get().with(auth).answer("CDN-Cache-Control: max-age=60, public").fwd(), anew())},
		cacheCase{s, "Authorization is not answered from the cache (choice: Varnish)", steps(stored(), get().with(auth).answer().fwd().sees(auth), get().hitOf(1))},
		cacheCase{s, "a scheme that nobody knows counts too", steps(get().with("Authorization: x").answer(fresh).fwd(), anew())},
	)
}
