package proxy

import "github.com/sedge-proxy/sedge/proxy/cache"

// Cache is what an operator may do with what is kept of the origin's answers; see
// [cache.Objects]. A host is in lower case and with its port, a target is the path with the
// query, as visitors ask for it.
type Cache interface {
	PurgeURL(host, target string, how cache.Purge) (concerned int)
	PurgePrefix(host, prefix string, how cache.Purge)
	PurgeTag(tag string, how cache.Purge)
	PurgeAll(how cache.Purge) (dropped int)
	List(prefix string, limit int) (listed []cache.Listed, more bool)
	Usage() cache.Usage
}

// Cache returns what is kept of the origin's answers; nil if nothing is. It outlives
// reloads.
func (s *Server) Cache() Cache {
	if s.objects == nil {
		return nil // and no interface around a nil pointer, which would not compare as nil
	}
	return s.objects
}
