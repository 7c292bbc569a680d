package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

const (
	probeTimeout   = 8 * time.Second
	probeRedirects = 5
	probeBody      = 1 << 20 // bytes of a page that are looked at
)

// canonicalSite follows the redirects of the site's first page to its canonical
// address. What it cannot find out it says, and keeps the address as given.
func (a *app) canonicalSite(ctx context.Context, site *url.URL) *url.URL {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	found := site
	for range probeRedirects {
		next, err := redirectTarget(ctx, found)
		if err != nil {
			fmt.Fprintf(a.stderr, "note: %s did not answer (%v); the configuration is written for it all the same\n", found, err)
			return site
		}
		if next == nil {
			break
		}
		found = next
	}
	if *found != *site {
		fmt.Fprintf(a.stderr, "note: %s redirects to %s, which is written as the upstream\n", site, found)
	}
	return found
}

// redirectTarget returns the site that the first page redirects to, nil for none.
func redirectTarget(ctx context.Context, site *url.URL) (*url.URL, error) {
	response, err := firstPage(ctx, site)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	location, err := response.Location()
	if response.StatusCode/100 != 3 || err != nil {
		return nil, nil //nolint:nilerr // an answer without a usable Location is no redirect
	}
	next := &url.URL{Scheme: location.Scheme, Host: location.Host}
	if *next == *site || next.Scheme != "http" && next.Scheme != "https" || !canonicalRedirect(site, location) {
		return nil, nil
	}
	return next, nil
}

// canonicalRedirect tells a redirect to the site's proper address from one to
// somewhere else, such as a log-in page on another host: it keeps the path, or it
// only changes scheme, port or "www.".
func canonicalRedirect(site, location *url.URL) bool {
	bare := func(u *url.URL) string { return strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.") }
	return location.Path == "" || location.Path == "/" || bare(site) == bare(location)
}

// compressesForVisitorsAlone reports whether the first page comes compressed, but not
// for a request that says that it came through a proxy, as nginx does by default.
func (a *app) compressesForVisitorsAlone(ctx context.Context, site *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if !compressed(ctx, site, "") || compressed(ctx, site, "1.1 sedge") {
		return false
	}
	fmt.Fprintf(a.stderr, "note: %s compresses nothing for requests with a Via header, so they will have none\n", site)
	return true
}

func compressed(ctx context.Context, site *url.URL, via string) bool {
	response, err := firstPage(ctx, site, "Accept-Encoding", "gzip", "Via", via)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.Header.Get("Content-Encoding") != ""
}

// firstPage asks for the site's first page, following nothing. The fields are names
// and values; those without a value are left out.
func firstPage(ctx context.Context, site *url.URL, fields ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, site.String()+"/", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "sedge-init")
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			request.Header.Set(fields[i], fields[i+1])
		}
	}
	return http.DefaultTransport.RoundTrip(request)
}

// linksByFullAddress reports whether the first page leads on to its own site by links
// or forms that hold the site's name.
func (a *app) linksByFullAddress(ctx context.Context, site *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	response, err := firstPage(ctx, site)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	tags := html.NewTokenizer(io.LimitReader(response.Body, probeBody))
	for {
		switch tags.Next() {
		case html.ErrorToken:
			return false
		case html.StartTagToken, html.SelfClosingTagToken:
			if leadsTo(tags.Token(), site) {
				fmt.Fprintf(a.stderr, "note: %s links to itself by its full address, so such links are mapped\n", site)
				return true
			}
		}
	}
}

// leadsTo reports whether a tag takes who follows it to the site by its name. What
// only names the site, such as a canonical link for search engines, does not.
func leadsTo(tag html.Token, site *url.URL) bool {
	for _, attribute := range tag.Attr {
		switch tag.Data + " " + attribute.Key {
		case "a href", "area href", "base href", "form action", "button formaction", "input formaction":
			to, err := url.Parse(strings.TrimSpace(attribute.Val))
			if err == nil && strings.EqualFold(to.Hostname(), site.Hostname()) && (to.Port() == site.Port() || to.Scheme != site.Scheme) {
				return true
			}
		}
	}
	return false
}
