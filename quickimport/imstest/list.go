package imstest

import (
	"encoding/xml"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxListed = 1000 // entries of a page

// isoTime is how the store writes times in XML.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// pageSize reads how many entries a page may have.
func pageSize(q url.Values, name string) (int, error) {
	v := q.Get(name)
	if v == "" {
		return maxListed, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, refuse("InvalidArgument", name+" must be a positive number.")
	}
	return min(n, maxListed), nil
}

type listedObject struct {
	Key, LastModified, ETag string
	Size                    int64
	StorageClass            string
}

type listedPrefix struct{ Prefix string }

type objectList struct {
	XMLName                         xml.Name `xml:"ListBucketResult"`
	NS                              string   `xml:"xmlns,attr"`
	Name, Prefix, Marker, Delimiter string
	MaxKeys                         int
	IsTruncated                     bool
	NextMarker                      string `xml:",omitempty"` // only with a delimiter
	Contents                        []listedObject
	CommonPrefixes                  []listedPrefix
}

func (c *obsCall) listObjects() error {
	limit, err := pageSize(c.q, "max-keys")
	if err != nil {
		return err
	}
	out := &objectList{NS: s3XMLNS, Name: c.bucket.Name, Prefix: c.q.Get("prefix"), Marker: c.q.Get("marker"),
		Delimiter: c.q.Get("delimiter"), MaxKeys: limit}
	last := ""
	for _, o := range c.store.current(c.bucket.Name) {
		shown, ok := out.shown(o.Key)
		if !ok || shown <= out.Marker || shown == last {
			continue
		}
		if len(out.Contents)+len(out.CommonPrefixes) == limit {
			out.IsTruncated = true
			break
		}
		if last = shown; shown != o.Key {
			out.CommonPrefixes = append(out.CommonPrefixes, listedPrefix{shown})
			continue
		}
		out.Contents = append(out.Contents, listedObject{o.Key, isoTime(o.Modified), c.f.etag(o.ETag), o.Size, o.StorageClass})
	}
	if out.IsTruncated && out.Delimiter != "" {
		out.NextMarker = last
	}
	return c.sendXML(out)
}

// shown is the key, or the common prefix that stands for it; false if the
// prefix of the list excludes it.
func (l *objectList) shown(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, l.Prefix)
	if i := strings.Index(rest, l.Delimiter); ok && l.Delimiter != "" && i >= 0 {
		return l.Prefix + rest[:i+len(l.Delimiter)], true
	}
	return key, ok
}

type listedUpload struct {
	Key, UploadId, StorageClass, Initiated string
}

func (c *obsCall) listUploads() error {
	limit, err := pageSize(c.q, "max-uploads")
	if err != nil {
		return err
	}
	out := struct {
		XMLName                                   xml.Name `xml:"ListMultipartUploadsResult"`
		NS                                        string   `xml:"xmlns,attr"`
		Bucket, Prefix, KeyMarker, UploadIdMarker string
		MaxUploads                                int
		IsTruncated                               bool
		NextKeyMarker, NextUploadIdMarker         string `xml:",omitempty"`
		Upload                                    []listedUpload
	}{NS: s3XMLNS, Bucket: c.bucket.Name, Prefix: c.q.Get("prefix"), KeyMarker: c.q.Get("key-marker"),
		UploadIdMarker: c.q.Get("upload-id-marker"), MaxUploads: limit}
	for _, u := range c.store.sortedUploads(c.bucket.Name) {
		after := out.KeyMarker == "" || u.Key > out.KeyMarker ||
			u.Key == out.KeyMarker && out.UploadIdMarker != "" && u.ID > out.UploadIdMarker
		if !after || !strings.HasPrefix(u.Key, out.Prefix) {
			continue
		}
		if len(out.Upload) == limit {
			last := out.Upload[limit-1]
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker = true, last.Key, last.UploadId
			break
		}
		out.Upload = append(out.Upload, listedUpload{u.Key, u.ID, u.StorageClass, isoTime(u.Initiated)})
	}
	return c.sendXML(out)
}

type listedPart struct {
	PartNumber         int
	LastModified, ETag string
	Size               int64
}

func (c *obsCall) listParts() error {
	limit, err := pageSize(c.q, "max-parts")
	if err != nil {
		return err
	}
	marker := 0
	if m := c.q.Get("part-number-marker"); m != "" {
		if marker, err = strconv.Atoi(m); err != nil || marker < 0 {
			return refuse("InvalidArgument", "part-number-marker must be a number.")
		}
	}
	id := c.q.Get("uploadId")
	class, parts, err := c.store.parts(c.bucket.Name, c.key, id)
	if err != nil {
		return err
	}
	out := struct {
		XMLName                             xml.Name `xml:"ListPartsResult"`
		NS                                  string   `xml:"xmlns,attr"`
		Bucket, Key, UploadId, StorageClass string
		PartNumberMarker                    int
		NextPartNumberMarker                int `xml:",omitempty"`
		MaxParts                            int
		IsTruncated                         bool
		Part                                []listedPart
	}{NS: s3XMLNS, Bucket: c.bucket.Name, Key: c.key, UploadId: id, StorageClass: class, PartNumberMarker: marker, MaxParts: limit}
	for n, p := range parts {
		if n > marker {
			out.Part = append(out.Part, listedPart{n, isoTime(p.modified), c.f.etag(p.md5), p.size})
		}
	}
	slices.SortFunc(out.Part, func(a, b listedPart) int { return a.PartNumber - b.PartNumber })
	if len(out.Part) > limit {
		out.Part, out.IsTruncated = out.Part[:limit], true
		out.NextPartNumberMarker = out.Part[limit-1].PartNumber
	}
	return c.sendXML(out)
}
