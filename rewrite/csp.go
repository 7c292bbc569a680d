package rewrite

import (
	"net/url"
	"strings"
)

// Policy is what the Content-Security-Policy headers of one answer say of scripts
// and styles (https://www.w3.org/TR/CSP3/). It does not change any more.
type Policy struct {
	page     *url.URL // the page's own address; nil if it could not be read
	enforced []policy
	advisory []policy // of Content-Security-Policy-Report-Only
}

// ParsePolicy reads the values of an answer's header lines Content-Security-Policy
// and Content-Security-Policy-Report-Only. page is the page's address as the browser
// knows it, against which 'self' and relative addresses are held. Policies that say
// nothing of scripts and styles are left out. What is beyond 64 KiB of text, 256
// directives or 2048 sources is not read, and forbids all that needs a policy.
func ParsePolicy(enforced, reportOnly []string, page string) *Policy {
	p := &Policy{page: parseAddress(page)}
	bounds := newPolicyBounds()
	for _, line := range enforced {
		p.enforced = bounds.list(p.enforced, line, true)
	}
	bounds = newPolicyBounds()
	for _, line := range reportOnly {
		p.advisory = bounds.list(p.advisory, line, true)
	}
	return p
}

// The directives that are read.
const (
	defaultSrc = iota
	scriptSrc
	scriptSrcElem
	scriptSrcAttr
	styleSrc
	styleSrcElem
	styleSrcAttr
	baseURI
	directiveCount
)

var directiveNames = [directiveCount]string{
	"default-src", "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr", "base-uri",
}

// What forbids an edit where it is no list of sources.
const (
	sandboxName      = "sandbox"
	trustedTypesName = "require-trusted-types-for"
	unreadName       = "content-security-policy" // beyond the bounds
	metaName         = "meta"                    // the edit would change the page's own policy
)

// policy is one policy, of which there may be several; all must allow.
type policy struct {
	lists        [directiveCount]*sourceList // nil where the directive is not there
	noScripts    bool                        // sandboxed without allow-scripts
	trustedTypes bool                        // of scripts: javascript: addresses do not run
	unread       bool                        // it was too large
}

// policyBounds is what may still be read.
type policyBounds struct{ text, directives, sources int }

func newPolicyBounds() policyBounds {
	return policyBounds{text: 64 << 10, directives: 256, sources: 2048}
}

// list appends the policies of one header line
// (https://www.w3.org/TR/CSP3/#parse-serialized-policy-list).
func (b *policyBounds) list(dst []policy, line string, header bool) []policy {
	for text := range strings.SplitSeq(line, ",") {
		dst = b.one(dst, text, header)
	}
	return dst
}

// meta appends the policy of a <meta>. The standard reads it as one policy, while
// browsers part it at commas as they do a header; both readings have to allow.
func (b *policyBounds) meta(dst []policy, content string) []policy {
	if strings.IndexByte(content, ',') >= 0 {
		dst = b.list(dst, content, false)
	}
	return b.one(dst, content, false)
}

// one appends a policy if it says anything of scripts and styles.
func (b *policyBounds) one(dst []policy, text string, header bool) []policy {
	if b.text < 0 {
		return dst // one that forbids everything is already there
	}
	p, says := policy{}, false
	if b.text -= len(text); b.text >= 0 {
		p, says = b.parse(text, header)
	}
	if b.text < 0 || b.directives < 0 || b.sources < 0 {
		b.text = -1
		return append(dst, policy{unread: true})
	}
	if !says {
		return dst
	}
	return append(dst, p)
}

// parse reads a policy (https://www.w3.org/TR/CSP3/#parse-serialized-policy). Of
// directives of one name the first counts.
func (b *policyBounds) parse(text string, header bool) (p policy, says bool) {
	sandboxed, typed := false, false
	for directive := range strings.SplitSeq(text, ";") {
		directive = strings.Trim(directive, asciiSpace)
		if directive == "" || !isASCII([]byte(directive)) {
			continue
		}
		if b.directives--; b.directives < 0 {
			return p, says
		}
		name, value := directive, ""
		if end := strings.IndexAny(directive, asciiSpace); end >= 0 {
			name, value = directive[:end], directive[end:]
		}
		switch name = lower(name); name {
		case sandboxName:
			if header && !sandboxed { // a <meta> cannot sandbox
				sandboxed, p.noScripts = true, !hasFolded(value, "allow-scripts")
				says = says || p.noScripts
			}
		case trustedTypesName:
			if !typed {
				typed, p.trustedTypes = true, hasFolded(value, "'script'")
				says = says || p.trustedTypes
			}
		default:
			says = b.readSources(&p, name, value) || says
		}
	}
	return p, says
}

// readSources reads the value of a directive that lists sources.
func (b *policyBounds) readSources(p *policy, name, value string) bool {
	for i, known := range directiveNames {
		if known != name || p.lists[i] != nil {
			continue
		}
		p.lists[i] = new(sourceList)
		for expression := range strings.FieldsFuncSeq(value, isSpaceRune) {
			if b.sources--; b.sources < 0 {
				return true
			}
			p.lists[i].add(expression)
		}
		return true
	}
	return false
}

const asciiSpace = " \t\n\f\r"

func isSpaceRune(c rune) bool { return c < 0x80 && isSpace(byte(c)) }

// hasFolded reports whether a word stands in a list, whatever its case.
func hasFolded(list, word string) bool {
	for item := range strings.FieldsFuncSeq(list, isSpaceRune) {
		if foldEqual([]byte(item), word) {
			return true
		}
	}
	return false
}

// fallbacks are the directives that decide on each kind of need, the first that is
// there (https://www.w3.org/TR/CSP3/#directive-fallback-list).
var fallbacks = [...][3]int{
	needScript:     {scriptSrcElem, scriptSrc, defaultSrc},
	needScriptURL:  {scriptSrcElem, scriptSrc, defaultSrc},
	needNavigation: {scriptSrcElem, scriptSrc, defaultSrc},
	needHandler:    {scriptSrcAttr, scriptSrc, defaultSrc},
	needStyle:      {styleSrcElem, styleSrc, defaultSrc},
	needStyleURL:   {styleSrcElem, styleSrc, defaultSrc},
	needStyleAttr:  {styleSrcAttr, styleSrc, defaultSrc},
}

// listFor returns the list that decides on a kind of need, and its directive; nil
// where the policy has none.
func (p *policy) listFor(kind needKind) (*sourceList, string) {
	for _, i := range fallbacks[kind] {
		if p.lists[i] != nil {
			return p.lists[i], directiveNames[i]
		}
	}
	return nil, ""
}
