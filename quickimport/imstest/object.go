package imstest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

var storageClasses = []string{standardClass, "WARM", "COLD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"}

// storageClass is the class that the request asks for, else that of the bucket.
func (c *obsCall) storageClass() (string, error) {
	class := c.r.Header.Get("X-Amz-Storage-Class")
	if class == "" {
		return c.bucket.StorageClass, nil
	}
	if !slices.Contains(storageClasses, class) {
		return "", refuse("InvalidStorageClass", "The storage class is not known.")
	}
	return class, nil
}

// keptHeaders are stored with an object, and so is all user metadata.
var keptHeaders = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires"}

const metaPrefix = "X-Amz-Meta-"

func metadata(h http.Header) map[string]string {
	m := map[string]string{}
	for k := range h {
		if strings.HasPrefix(k, metaPrefix) || slices.Contains(keptHeaders, k) {
			m[k] = h.Get(k)
		}
	}
	return m
}

func (c *obsCall) putObject() error {
	if c.r.Header.Get(copyFrom) != "" {
		return refuse("NotImplemented", "Copying an object as a whole is not supported.")
	}
	class, err := c.storageClass()
	if err != nil {
		return err
	}
	rc, err := c.receiveBody(maxPut)
	if err != nil {
		return err
	}
	ob, err := c.store.putReceived(c.bucket.Name, c.key, rc, metadata(c.r.Header), class)
	if err != nil {
		return err
	}
	c.setVersion(ob)
	c.setETag(ob.ETag)
	return nil
}

// getObject answers GET and HEAD.
func (c *obsCall) getObject() error {
	ob, err := c.store.openVersion(c.bucket.Name, c.key, c.q.Get("versionId"))
	if err != nil {
		return err
	}
	defer ob.Close()
	if err := c.conditions(ob.ETag); err != nil {
		return err
	}
	start, length, partial, err := parseRange(c.r.Header.Get("Range"), ob.Size)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "binary/octet-stream")
	for k, v := range ob.Meta {
		h.Set(k, v)
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("Last-Modified", ob.Modified.UTC().Format(http.TimeFormat))
	h.Set("X-Amz-Storage-Class", ob.StorageClass)
	h.Set("Content-Length", fmt.Sprint(length))
	c.setVersion(ob.object)
	c.setETag(ob.ETag)
	status := http.StatusOK
	if partial {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, start+length-1, ob.Size))
		status = http.StatusPartialContent
	}
	c.w.WriteHeader(status)
	if c.r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(c.w, io.NewSectionReader(ob, start, length)); err != nil {
		panic(http.ErrAbortHandler) // the answer is under way
	}
	return nil
}

func (c *obsCall) conditions(etag string) error {
	match, none := c.r.Header.Get("If-Match"), c.r.Header.Get("If-None-Match")
	if match != "" && match != "*" && plainETag(match) != etag {
		return refuse("PreconditionFailed", "The ETag does not match.")
	}
	if none != "" && (none == "*" || plainETag(none) == etag) {
		return refuse("NotModified", "")
	}
	return nil
}

// parseRange reads a Range header. As in S3, one that is malformed or has
// several ranges is ignored.
func parseRange(h string, size int64) (start, length int64, partial bool, err error) {
	spec, ok := strings.CutPrefix(h, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash {
		return 0, size, false, nil
	}
	a, err1 := strconv.ParseInt(first, 10, 64)
	z, err2 := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "" && err2 == nil && z >= 0: // the last z bytes
		a, z = max(size-z, 0), size-1
		if last == "0" {
			a = size
		}
	case err1 == nil && last == "":
		z = size - 1
	case err1 != nil || err2 != nil || a < 0 || z < a:
		return 0, size, false, nil
	}
	if a >= size {
		return 0, 0, false, refuse("InvalidRange", "The requested range is not satisfiable.")
	}
	return a, min(z, size-1) - a + 1, true, nil
}

func (c *obsCall) deleteObject() error {
	marker, err := c.store.remove(c.bucket.Name, c.key, c.q.Get("versionId"))
	if err != nil {
		return err
	}
	if marker != nil {
		c.setVersion(marker)
		c.w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *obsCall) setVersion(o *object) {
	if o.VersionID != "" {
		c.w.Header().Set("X-Amz-Version-Id", o.VersionID)
	}
}

func (c *obsCall) describeBucket() error {
	switch c.op {
	case OpHeadBucket:
		c.w.Header().Set("X-Amz-Bucket-Region", c.bucket.Region)
		c.w.Header().Set("X-Amz-Storage-Class", c.bucket.StorageClass)
		return nil
	case OpEncryption:
		return c.bucketEncryption()
	case OpVersioning:
		status := ""
		if c.store.versioned {
			status = "Enabled"
		}
		return c.sendXML(struct {
			XMLName xml.Name `xml:"VersioningConfiguration"`
			NS      string   `xml:"xmlns,attr"`
			Status  string   `xml:",omitempty"`
		}{NS: s3XMLNS, Status: status})
	}
	return c.sendXML(struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		NS      string   `xml:"xmlns,attr"`
		Region  string   `xml:",chardata"`
	}{NS: s3XMLNS, Region: c.bucket.Region})
}

// rival puts another host's object in the place of the one that was just stored.
func (o *obs) rival(r *http.Request) {
	bucket, key, _ := address(r)
	old, err := o.store.open(bucket, key)
	if err != nil {
		return
	}
	size, class := old.Size, old.StorageClass
	_ = old.Close()
	rc, err := o.store.receive(io.LimitReader(rivalBytes{}, size))
	if err == nil {
		_, err = o.store.putReceived(bucket, key, rc, nil, class)
	}
	if err != nil {
		o.logger.Error("rival not stored", "error", err)
	}
}

// rivalBytes is what a rival's object consists of.
type rivalBytes struct{}

func (rivalBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xA5
	}
	return len(p), nil
}
