package rewrite

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const policyPage = "https://shop.example/club/join?x=1"

// asksPolicy says what policies say to content: "yes", "nonce …" or "no …". Policies
// are parted by " | ", as header lines are.
func asksPolicy(t testing.TB, policies, content, page string) string {
	t.Helper()
	p := ParsePolicy(strings.Split(policies, " | "), nil, page)
	needs, _ := contentNeeds([]byte(content), nil, false)
	var all []string
	for i := range needs {
		d := policing{policy: p, base: p.page, found: p.enforced}
		switch nonce, by := d.ask(&needs[i], true); {
		case by != "":
			return "no " + by
		case nonce != "":
			all = append(all, "nonce "+nonce)
		}
	}
	if len(all) > 0 {
		return strings.Join(all, ", ")
	}
	return "yes"
}

// TestPolicies holds the matcher to the sections of https://www.w3.org/TR/CSP3/.
func TestPolicies(t *testing.T) {
	const (
		inline  = `<script>go()</script>`
		own     = `<script src="/a.js"></script>`
		cdn     = `<script src="https://cdn.example/lib/a.js?v=1"></script>`
		handler = `<b onclick="go()">x</b>`
		style   = `<style>b{}</style>`
		attr    = `<b style="color:red">x</b>`
		sheet   = `<link rel="stylesheet" href="https://cdn.example/a.css">`
		jump    = `<a href="javascript:go()">x</a>`
	)
	hash := func(text string, kind int) string { return "'" + hashesOf([]byte(text))[kind] + "'" }
	for _, c := range []struct{ section, policy, content, want string }{
		{"2.2.1 no policy", "", inline, "yes"},
		{"2.2.1 unknown directives", "frame-ancestors 'none'; report-uri /r", inline, "yes"},
		{"2.2.1 directive names in any case", "SCRIPT-SRC 'none'", inline, "no script-src"},
		{"2.2.1 the first of a name counts", "script-src 'self'; script-src 'unsafe-inline'", inline, "no script-src"},
		{"2.2.1 empty tokens", " ; ;; script-src 'none' ;", inline, "no script-src"},
		{"2.2.1 any white space", "script-src\t'none'", inline, "no script-src"},
		{"2.2.1 tokens beyond ASCII are skipped", "script-src 'none' ü; style-src 'none'", inline, "yes"},
		{"2.2.2 several in one line", "script-src 'unsafe-inline', script-src 'self'", inline, "no script-src"},
		{"2.2.2 several lines", "script-src 'unsafe-inline' | script-src 'self'", inline, "no script-src"},
		{"2.3.1 an empty list", "script-src", own, "no script-src"},
		{"2.3.1 'none'", "script-src 'none'", own, "no script-src"},
		{"2.3.1 'none' beside others is nothing", "script-src 'none' 'self'", own, "yes"},
		{"2.3.1 keywords in any case", "script-src 'SELF'", own, "yes"},
		{"2.3.1 unknown expressions", "script-src 'selv' self \"'self'\"", own, "no script-src"},
		{"6.1.3 default-src", "default-src 'self'", cdn, "no default-src"},
		{"6.8.3 script-src in front of default-src", "default-src 'none'; script-src 'self'", own, "yes"},
		{"6.8.3 script-src-elem in front of script-src", "script-src 'none'; script-src-elem 'self'", own, "yes"},
		{"6.8.3 script-src-elem is not for handlers", "script-src 'none'; script-src-elem 'unsafe-inline'", handler, "no script-src"},
		{"6.8.3 script-src-attr is for handlers", "script-src 'none'; script-src-attr 'unsafe-inline'", handler, "yes"},
		{"6.8.3 handlers fall back to default-src", "default-src 'self'", handler, "no default-src"},
		{"6.8.3 style-src-elem", "style-src 'none'; style-src-elem 'unsafe-inline'", style, "yes"},
		{"6.8.3 style-src-attr", "style-src 'unsafe-inline'; style-src-attr 'none'", attr, "no style-src-attr"},
		{"6.8.3 styles fall back to default-src", "default-src 'self'", style, "no default-src"},
		{"6.8.3 style-src is not for scripts", "style-src 'none'", inline, "yes"},
		{"6.1.11 nonce", "script-src 'nonce-abc'", inline, "nonce abc"},
		{"6.1.11 nonce for a script from elsewhere", "script-src 'nonce-abc'", cdn, "nonce abc"},
		{"6.1.11 no nonce where none is needed", "script-src 'self' 'nonce-abc'", own, "yes"},
		{"6.1.11 integrity", "script-src 'sha256-YWJj'", `<script src="/a.js" integrity="sha256-YWJj"></script>`, "yes"},
		{"6.1.11 integrity, one is missing", "script-src 'sha256-YWJj'", `<script src="/a.js" integrity="sha256-YWJj sha384-YWJj"></script>`, "no script-src"},
		{"6.1.11 'strict-dynamic' ignores hosts", "script-src 'strict-dynamic' 'self' https:", own, "no script-src"},
		{"6.1.11 'strict-dynamic' and nonce", "script-src 'strict-dynamic' 'nonce-abc'", own, "nonce abc"},
		{"6.1.14 stylesheet by address", "style-src https://cdn.example", sheet, "yes"},
		{"6.1.14 stylesheet by nonce", "style-src 'nonce-abc'", sheet, "nonce abc"},
		{"6.1.14 'strict-dynamic' is not for styles", "style-src 'strict-dynamic' https://cdn.example", sheet, "yes"},
		{"6.1.14 styles and scripts with nonces of their own", "script-src 'nonce-a1'; style-src 'nonce-b2'", inline + style, "nonce a1, nonce b2"},
		{"6.3.2 sandbox", "sandbox allow-forms", inline, "no sandbox"},
		{"6.3.2 sandbox with scripts", "sandbox allow-Scripts", inline, "yes"},
		{"6.3.2 sandbox leaves styles", "sandbox", style, "yes"},
		{"6.7.3.1 own nonce", "script-src 'nonce-abc'", `<script nonce=abc>go()</script>`, "yes"},
		{"6.7.3.1 another nonce of its own", "script-src 'nonce-abc'", `<script nonce=xyz>go()</script>`, "no script-src"},
		{"6.7.3.1 a tag in an attribute", "script-src 'nonce-abc'", `<script title="<SCRIPT">go()</script>`, "no script-src"},
		{"6.7.3.1 an attribute twice", "script-src 'nonce-abc'", `<script a=1 a=2>go()</script>`, "no script-src"},
		{"6.7.3.2 'unsafe-inline'", "script-src 'unsafe-inline'", inline, "yes"},
		{"6.7.3.2 'unsafe-inline' and nonce", "script-src 'unsafe-inline' 'nonce-abc'", inline, "nonce abc"},
		{"6.7.3.2 'unsafe-inline' and hash", "script-src 'unsafe-inline' 'sha256-YWJj'", inline, "no script-src"},
		{"6.7.3.2 'unsafe-inline' and 'strict-dynamic'", "script-src 'unsafe-inline' 'strict-dynamic'", inline, "no script-src"},
		{"6.7.3.2 'strict-dynamic' leaves styles", "style-src 'unsafe-inline' 'strict-dynamic'", style, "yes"},
		{"6.7.3.2 'unsafe-inline' for handlers", "script-src 'unsafe-inline'", handler, "yes"},
		{"6.7.3.2 a nonce ends it for handlers", "script-src 'unsafe-inline' 'nonce-abc'", handler, "no script-src"},
		{"6.7.3.2 'unsafe-inline' for javascript:", "script-src 'unsafe-inline'", jump, "yes"},
		{"6.7.3.2 javascript: without it", "script-src 'self'", jump, "no script-src"},
		{"6.7.3.3 hash", "script-src " + hash("go()", 0), inline, "yes"},
		{"6.7.3.3 sha384", "script-src " + hash("go()", 1), inline, "yes"},
		{"6.7.3.3 sha512", "script-src " + hash("go()", 2), inline, "yes"},
		{"6.7.3.3 hash algorithm in any case", "script-src " + strings.Replace(hash("go()", 0), "sha", "SHA", 1), inline, "yes"},
		{"6.7.3.3 hash in base64url", "script-src " + strings.NewReplacer("+", "-", "/", "_").Replace(hash("go()", 2)), inline, "yes"},
		{"6.7.3.3 hash of another text", "script-src " + hash("go();", 0), inline, "no script-src"},
		{"6.7.3.3 hash of line ends as browsers read them", "script-src " + hash("a\nb\nc", 0), "<script>a\r\nb\rc</script>", "yes"},
		{"6.7.3.3 hash of a style", "style-src " + hash("b{}", 0), style, "yes"},
		{"6.7.3.3 hash of a handler", "script-src " + hash("go()", 0), handler, "no script-src"},
		{"6.7.3.3 'unsafe-hashes'", "script-src 'unsafe-hashes' " + hash("go()", 0), handler, "yes"},
		{"6.7.3.3 'unsafe-hashes' for style attributes", "style-src 'unsafe-hashes' " + hash("color:red", 0), attr, "yes"},
		{"6.7.3.3 hash of an attribute as it is meant", "script-src 'unsafe-hashes' " + hash(`go("x")`, 0), `<b onclick="go(&quot;x&quot;)">x</b>`, "yes"},
		{"6.7.3.3 'none' at style attributes", "style-src 'self'", attr, "no style-src"},
		{"6.7.2.3 nonces compare by case", "script-src 'nonce-ABC'", `<script nonce=abc>go()</script>`, "no script-src"},
		{"6.7.2.3 odd characters in a nonce", "script-src 'nonce-a\"b'", inline, "no script-src"},
		{"6.7.2.3 one nonce for all policies", "script-src 'nonce-a' 'nonce-b' | script-src 'nonce-b'", inline, "nonce b"},
		{"6.7.2.3 no nonce that all know", "script-src 'nonce-a' | script-src 'nonce-b'", inline, "no script-src"},
		{"6.7.2.8 *", "script-src *", cdn, "yes"},
		{"6.7.2.8 * is not for data:", "script-src *", `<script src="data:text/javascript,1"></script>`, "no script-src"},
		{"6.7.2.8 * is not for text", "script-src *", inline, "no script-src"},
		{"6.7.2.8 data:", "script-src data:", `<script src="data:text/javascript,1"></script>`, "yes"},
		{"6.7.2.8 a scheme", "script-src https:", cdn, "yes"},
		{"6.7.2.8 a host without scheme takes the page's", "script-src cdn.example", `<script src="http://cdn.example/a.js"></script>`, "no script-src"},
		{"6.7.2.8 'self', same scheme", "script-src 'self'", `<script src="https://shop.example:443/a.js"></script>`, "yes"},
		{"6.7.2.8 'self', lesser scheme", "script-src 'self'", `<script src="http://shop.example/a.js"></script>`, "no script-src"},
		{"6.7.2.8 'self', other port", "script-src 'self'", `<script src="https://shop.example:8443/a.js"></script>`, "no script-src"},
		{"6.7.2.8 'self', relative", "script-src 'self'", `<script src="a.js"></script><script src="//shop.example/b.js"></script>`, "yes"},
		{"6.7.2.8 'self', backslashes", "script-src 'self'", `<script src="\\evil.example\a.js"></script>`, "no script-src"},
		{"6.7.2.8 'self', white space", "script-src 'self'", "<script src=' /\t/evil.example/a.js'></script>", "no script-src"},
		{"6.7.2.8 'self', no host", "script-src 'self'", `<script src="https:a.js"></script>`, "no script-src"},
		{"6.7.2.9 http takes https", "script-src http://cdn.example", cdn, "yes"},
		{"6.7.2.9 https does not take http", "script-src https://cdn.example", `<script src="http://cdn.example/a.js"></script>`, "no script-src"},
		{"6.7.2.10 host in any case", "script-src https://CDN.example", cdn, "yes"},
		{"6.7.2.10 wildcard", "script-src *.example", cdn, "yes"},
		{"6.7.2.10 wildcard does not take the name itself", "script-src *.cdn.example", cdn, "no script-src"},
		{"6.7.2.10 wildcard needs the dot", "script-src *.n.example", cdn, "no script-src"},
		{"6.7.2.10 an address", "script-src https://10.0.0.7", `<script src="https://10.0.0.7/a.js"></script>`, "yes"},
		{"6.7.2.10 wildcards are not for addresses", "script-src https://*", `<script src="https://10.0.0.7/a.js"></script>`, "no script-src"},
		{"6.7.2.11 port", "script-src https://cdn.example:8443", cdn, "no script-src"},
		{"6.7.2.11 the usual port", "script-src https://cdn.example:443", cdn, "yes"},
		{"6.7.2.11 any port", "script-src https://cdn.example:*", `<script src="https://cdn.example:99/a.js"></script>`, "yes"},
		{"6.7.2.12 path below", "script-src https://cdn.example/lib/", cdn, "yes"},
		{"6.7.2.12 path as it is", "script-src https://cdn.example/lib/a.js", cdn, "yes"},
		{"6.7.2.12 path without slash", "script-src https://cdn.example/lib", cdn, "no script-src"},
		{"6.7.2.12 other path", "script-src https://cdn.example/other/", cdn, "no script-src"},
		{"6.7.2.12 path compares by case", "script-src https://cdn.example/LIB/", cdn, "no script-src"},
		{"6.7.2.12 encoded path", "script-src https://cdn.example/l%69b/", cdn, "yes"},
		{"6.7.2.12 path with dots", "script-src https://cdn.example/lib/", `<script src="https://cdn.example/lib/../b.js"></script>`, "no script-src"},
		{"6.7.2.12 path with a query is none", "script-src https://cdn.example/lib/a.js?v=1", cdn, "no script-src"},
		{"require-trusted-types-for", "require-trusted-types-for 'script'", jump, "no require-trusted-types-for"},
		{"require-trusted-types-for leaves what is parsed", "require-trusted-types-for 'script'", inline + handler, "yes"},
		{"HTML: data is no script", "script-src 'none'", `<script type="application/json">{}</script>`, "yes"},
		{"HTML: parameters make a type unknown", "script-src 'none'", `<script type="text/javascript; charset=utf-8">go()</script>`, "yes"},
		{"HTML: language", "script-src 'none'", `<script language=JavaScript1.5>go()</script>`, "no script-src"},
		{"HTML: module", "script-src 'none'", `<script type=" Module ">go()</script>`, "no script-src"},
		{"HTML: import map", "script-src 'nonce-abc'", `<script type="importmap">{}</script>`, "nonce abc"},
		{"HTML: empty script", "script-src 'none'", `<script></script>`, "yes"},
		{"HTML: a style of another type", "style-src 'none'", `<style type="text/less">b{}</style>`, "yes"},
		{"HTML: preload of a script", "script-src 'nonce-abc'", `<link rel=preload as=script href=/a.js>`, "nonce abc"},
		{"HTML: preload of a style", "style-src 'none'", `<link rel=preload as=style href=/a.css>`, "no style-src"},
		{"HTML: modulepreload", "script-src 'none'", `<link rel=ModulePreload href=/a.js>`, "no script-src"},
		{"HTML: other links and preloads", "default-src 'none'", `<link rel=icon href=/i><link rel=preload as=font href=/f>`, "yes"},
		{"HTML: text of a textarea", "script-src 'none'", `<textarea><script>go()</script></textarea><!--<script>-->`, "yes"},
		{"HTML: scripts of a template", "script-src 'nonce-abc'", `<template><script>go()</script></template>`, "nonce abc"},
		{"HTML: scripts of svg", "script-src 'none'", `<svg><script href="/a.js"/></svg>`, "no script-src"},
		{"HTML: attributes of body", "script-src 'self'", `<p><body onload="go()">`, "no script-src"},
		{"HTML: in a cell", "script-src 'nonce-abc'", `<td><script>go()</script>`, "nonce abc"},
		{"HTML: names that begin alike", "script-src 'none'", `<b on-click=x only2=y on=z>x</b>`, "yes"},
		{"HTML: javascript: with a tab", "script-src 'self'", "<form action=' java\tscript:go()'>x</form>", "no script-src"},
		{"HTML: what browsers read differently", "script-src 'self'", `<select><xmp><p></xmp></select>`, "no script-src"},
	} {
		if got := asksPolicy(t, c.policy, c.content, policyPage); got != c.want {
			t.Errorf("%s: %s with %s: %s, want %s", c.section, c.content, c.policy, got, c.want)
		}
	}
}

func TestPoliciesOfOtherPages(t *testing.T) {
	for _, c := range []struct{ policy, content, page, want string }{
		{"script-src 'self'", `<script src="https://shop.example/a.js"></script>`, "http://shop.example/", "yes"},
		{"script-src 'self'", `<script src="/a.js"></script>`, "http://127.0.0.1:8080/", "yes"},
		{"script-src cdn.example", `<script src="https://cdn.example/a.js"></script>`, "http://shop.example/", "yes"},
		{"script-src https://shop.example/club/", `<script src="a.js"></script>`, policyPage, "yes"},
		{"script-src 'self'", `<script src="/a.js"></script>`, "::", "no script-src"},
		{"script-src 'nonce-abc'", `<script src="/a.js"></script>`, "::", "nonce abc"},
	} {
		if got := asksPolicy(t, c.policy, c.content, c.page); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestPolicyBounds: what is too much to be read forbids whatever needs a policy.
func TestPolicyBounds(t *testing.T) {
	const script = `<script src="/a.js"></script>`
	for name, policy := range map[string]string{
		"text":       "script-src 'self' " + strings.Repeat("x", 64<<10),
		"directives": strings.Repeat("img-src x;", 257) + "script-src 'self'",
		"sources":    "script-src 'self'" + strings.Repeat(" a.example", 2048),
		"policies":   strings.Repeat("script-src 'self',", 257) + "script-src 'self'",
		"lines":      strings.Repeat("script-src 'self' | ", 257) + "script-src 'self'",
	} {
		if got := asksPolicy(t, policy, script, policyPage); got != "no "+unreadName {
			t.Errorf("%s: %s", name, got)
		}
		if got := asksPolicy(t, policy, "<b>x</b>", policyPage); got != "yes" {
			t.Errorf("%s, content that needs nothing: %s", name, got)
		}
	}
	full := "script-src 'self'" + strings.Repeat(" a.example", 2047)
	if got := asksPolicy(t, full, script, policyPage); got != "yes" {
		t.Errorf("just within: %s", got)
	}
}

// FuzzPolicy reads policies: a nonce that is chosen is one of the policy and safe in
// an attribute, and a policy more never allows more.
func FuzzPolicy(f *testing.F) {
	for _, seed := range [][2]string{
		{"script-src 'nonce-abc' 'strict-dynamic' https:; object-src 'none'", "/a.js"},
		{"default-src 'self' *.example:*/x/; script-src-attr 'unsafe-hashes' 'sha256-YWJj'", "https://a.example:8443/x/y"},
		{"sandbox; style-src, script-src 'none' data: ws://a.b.:80/%2e%", "data:x"},
		{"require-trusted-types-for 'script';;script-src\f'NONCE-a==' 'unsafe-inline'", `\\a\b`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, address string) {
		if len(text) > 4096 || len(address) > 1024 {
			return
		}
		p, more := ParsePolicy([]string{text}, nil, policyPage), ParsePolicy([]string{text, "script-src 'self' 'nonce-zz'"}, nil, policyPage)
		page, _ := url.Parse(policyPage)
		for kind := needScript; kind <= needStyleAttr; kind++ {
			a := asked{need: &need{kind: kind, hashes: hashesOf([]byte(address)), fixed: kind == needNavigation || kind == needHandler || kind == needStyleAttr}, page: page, utf8: true}
			if u := parseAddress(address); u != nil {
				a.address = page.ResolveReference(u)
			}
			nonce, by := decide(p.enforced, &a)
			if nonce != "" && (!isBase64Value(nonce) || !strings.Contains(text, nonce) || by != "") {
				t.Fatalf("%q: nonce %q, %q", text, nonce, by)
			}
			if _, also := decide(more.enforced, &a); by != "" && also == "" {
				t.Fatalf("%q forbids %d by %s, and does not with a policy more", text, kind, by)
			}
		}
	})
}

func ExampleParsePolicy() {
	policy := ParsePolicy([]string{"script-src 'nonce-r4nd0m' 'strict-dynamic'"}, nil, "https://shop.example/")
	program, _ := Compile(plannedHTML("body", "<script>greet()</script>"))
	page, _ := CompilePage([]byte("<!doctype html><body><p>Hello</p></body>"), Limits{Encoding: EncodingUTF8})
	splice := page.Splice(program, Given{Policy: policy})
	fmt.Println(string(splice.AppendTo(nil)), splice.Blocked())
	// Output: <!doctype html><body><p>Hello</p><script nonce="r4nd0m">greet()</script></body> []
}
