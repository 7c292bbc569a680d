package rewrite

import (
	"net/url"
	"slices"
)

// needKind is what a policy is asked to allow.
type needKind byte

const (
	needScript     needKind = iota // the text of a script
	needScriptURL                  // a script from elsewhere
	needNavigation                 // an address that begins with javascript:
	needHandler                    // an attribute like onclick
	needStyle                      // the text of a style
	needStyleURL                   // a stylesheet from elsewhere
	needStyleAttr                  // the attribute style
)

// need is one thing that all policies of a page must allow before an edit is applied.
type need struct {
	kind      needKind
	hashes    []string // of the text, as in sourceList; nil where it is not known
	unicode   bool     // the text is beyond ASCII: other character sets write it otherwise
	address   *url.URL // as written; nil where it is not known
	integrity []string // of a script from elsewhere
	nonce     string   // that the tag has itself
	fixed     bool     // no nonce can be given to it; so it is with all attributes
}

func (n *need) ofScript() bool {
	return n.kind != needStyle && n.kind != needStyleURL && n.kind != needStyleAttr
}

func (n *need) fetched() bool { return n.kind == needScriptURL || n.kind == needStyleURL }

// asked is a need on one page.
type asked struct {
	*need
	page, address *url.URL // the page's, and the one that is fetched
	utf8          bool     // the page is in UTF-8
}

// forbiddenBy returns the directive by which a policy forbids what is asked, with a
// nonce; "" if it allows it.
func (p *policy) forbiddenBy(a *asked, nonce string) string {
	switch {
	case p.unread:
		return unreadName
	case p.noScripts && a.ofScript():
		return sandboxName
	case p.trustedTypes && a.kind == needNavigation:
		return trustedTypesName
	}
	list, name := p.listFor(a.kind)
	if list == nil || a.fetched() && list.allowsFetch(a, nonce) || !a.fetched() && list.allowsInline(a, nonce) {
		return ""
	}
	return name
}

// allowsFetch follows the checks before a request for a script
// (https://www.w3.org/TR/CSP3/#script-pre-request) or style. What an edit inserts is
// inserted by the parser, which 'strict-dynamic' trusts by nonce and hash only.
func (l *sourceList) allowsFetch(a *asked, nonce string) bool {
	if slices.Contains(l.nonces, nonce) {
		return true
	}
	if a.kind == needScriptURL {
		if l.allowsIntegrity(a.integrity) {
			return true
		}
		if l.strictDynamic {
			return false
		}
	}
	return l.matches(a.address, a.page)
}

// allowsIntegrity reports whether all hashes of an attribute integrity are listed.
func (l *sourceList) allowsIntegrity(hashes []string) bool {
	for _, hash := range hashes {
		if !slices.Contains(l.hashes, hash) {
			return false
		}
	}
	return len(hashes) > 0
}

// allowsInline follows https://www.w3.org/TR/CSP3/#match-element-to-source-list.
func (l *sourceList) allowsInline(a *asked, nonce string) bool {
	if l.unsafeInline && len(l.nonces)+len(l.hashes) == 0 && !(l.strictDynamic && a.ofScript()) {
		return true
	}
	ofElement := a.kind == needScript || a.kind == needStyle
	if ofElement && slices.Contains(l.nonces, nonce) {
		return true
	}
	// Browsers do not agree on which text of a javascript: address is hashed.
	if !ofElement && !l.unsafeHashes || a.kind == needNavigation || a.unicode && !a.utf8 {
		return false
	}
	return slices.ContainsFunc(a.hashes, func(hash string) bool { return slices.Contains(l.hashes, hash) })
}

// maxNonces bounds how many nonces of a list are tried; more than one is odd already.
const maxNonces = 16

// decide says what all policies together say: nothing, that it needs a nonce, or
// which directive forbids it.
func decide(policies []policy, a *asked) (nonce, forbiddenBy string) {
	var strict []*sourceList // of the policies that forbid it as it is
	for i := range policies {
		by := policies[i].forbiddenBy(a, a.nonce)
		if by == "" {
			continue
		}
		if forbiddenBy == "" {
			forbiddenBy = by
		}
		list, name := policies[i].listFor(a.kind)
		if a.fixed || by != name {
			return "", forbiddenBy // no nonce helps
		}
		strict = append(strict, list)
	}
	if len(strict) == 0 {
		return "", ""
	}
	for _, nonce := range strict[0].nonces[:min(len(strict[0].nonces), maxNonces)] {
		if !slices.ContainsFunc(strict, func(l *sourceList) bool { return !slices.Contains(l.nonces, nonce) }) {
			return nonce, ""
		}
	}
	return "", forbiddenBy
}
