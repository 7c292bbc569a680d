package cache

import "bytes"

// isMismatch reports whether the path names a file of a static type, and the answer is
// of a type that visitors' own pages and data have, or of none at all. See
// [ReasonMismatch].
func isMismatch(path, contentType []byte) bool {
	var buf [longestWord]byte
	extension := lowered(extensionOf(path), &buf)
	data := false // JSON is what one would expect
	switch string(extension) {
	case "json", "map", "webmanifest":
		data = true
	case "css", "js", "mjs", "wasm", "txt", "xml", "csv", "pdf",
		"png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "avif", "bmp", "tif", "tiff",
		"woff", "woff2", "ttf", "otf", "eot",
		"mp3", "mp4", "m4a", "webm", "ogg", "oga", "ogv", "wav", "flac", "mov", "avi",
		"zip", "gz", "bz2", "7z", "tar", "rar", "doc", "docx", "xls", "xlsx", "ppt", "pptx":
	default:
		return false
	}
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = trimBlanks(media)
	switch {
	case len(media) == 0, nameIs(media, "text/html"), nameIs(media, "application/xhtml+xml"):
		return true
	case nameIs(media, "application/json"), len(media) > 5 && nameIs(media[len(media)-5:], "+json"):
		return !data
	}
	return false
}

// extensionOf returns what follows the last dot of the path's last segment that is not
// empty, decoded as far as servers decode it. Parameters of the segment are not part of
// the name.
func extensionOf(path []byte) []byte {
	decoded := path
	if bytes.IndexByte(path, '%') >= 0 {
		decoded = unescape(path)
	}
	decoded = bytes.TrimRight(decoded, "/") // a name with a slash behind it is as good a lure
	decoded = decoded[bytes.LastIndexByte(decoded, '/')+1:]
	extension := decoded[bytes.LastIndexByte(decoded, '.')+1:]
	if len(extension) == len(decoded) {
		return nil // no dot
	}
	for i, b := range extension {
		if !isAlpha(b) && !isDigit(b) {
			return extension[:i]
		}
	}
	return extension
}

// unescape decodes percent-encoding, once.
func unescape(path []byte) []byte {
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			high, low := hexDigit(path[i+1]), hexDigit(path[i+2])
			if high >= 0 && low >= 0 {
				decoded = append(decoded, byte(high<<4|low))
				i += 2
				continue
			}
		}
		decoded = append(decoded, path[i])
	}
	return decoded
}

func hexDigit(b byte) int {
	switch b = lowerByte(b); {
	case isDigit(b):
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	}
	return -1
}

// isAsset reports whether an answer is of a type that the files of a site have, and hardly
// what is made for one visitor: pictures, sound, fonts, styles and code. Pages, data and
// texts (HTML, JSON, XML, CSV, PDF, text/plain) are not, nor is what has no type.
func isAsset(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	kind, name, _ := bytes.Cut(trimBlanks(media), []byte{'/'})
	var buf [longestWord]byte
	switch string(lowered(kind, &buf)) {
	case "image", "font", "audio", "video":
		return len(name) > 0
	case "text":
		switch string(lowered(name, &buf)) {
		case "css", "javascript", "ecmascript", "vtt":
			return true
		}
	case "application":
		switch string(lowered(name, &buf)) {
		case "javascript", "x-javascript", "ecmascript", "wasm", "manifest+json", "font-woff", "x-font-woff", "x-font-ttf", "x-font-otf", "vnd.ms-fontobject":
			return true
		}
	}
	return false
}

func isPlainText(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	return nameIs(trimBlanks(media), "text/plain")
}
