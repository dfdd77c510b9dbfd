package imstest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func (c *obsCall) createUpload() error {
	class, err := c.storageClass()
	if err != nil {
		return err
	}
	if _, err := c.readBody(); err != nil {
		return err
	}
	id, err := c.store.beginUpload(c.bucket.Name, c.key, class, metadata(c.r.Header))
	if err != nil {
		return err
	}
	return c.sendXML(struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		NS                    string   `xml:"xmlns,attr"`
		Bucket, Key, UploadId string
	}{NS: s3XMLNS, Bucket: c.bucket.Name, Key: c.key, UploadId: id})
}

// part returns the part number and the upload that the request names.
func (c *obsCall) part() (n int, upload string, err error) {
	n, err = strconv.Atoi(c.q.Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return 0, "", refuse("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
	}
	upload = c.q.Get("uploadId")
	return n, upload, c.store.hasUpload(c.bucket.Name, c.key, upload)
}

func (c *obsCall) uploadPart() error {
	n, id, err := c.part()
	if err != nil {
		return err
	}
	rc, err := c.receiveBody(maxPart)
	if err != nil {
		return err
	}
	p, err := c.store.putPart(c.bucket.Name, c.key, id, n, rc)
	if err != nil {
		return err
	}
	c.setETag(p.md5)
	return nil
}

func (c *obsCall) copyPart() error {
	n, id, err := c.part()
	if err != nil {
		return err
	}
	src, err := c.copySource()
	if err != nil {
		return err
	}
	defer src.Close()
	start, length, err := parseCopyRange(c.r.Header.Get(copyRange), src.Size)
	if err != nil {
		return err
	}
	rc, err := c.store.receive(io.NewSectionReader(src, start, length))
	if err != nil {
		return err
	}
	p, err := c.store.putPart(c.bucket.Name, c.key, id, n, rc)
	if err != nil {
		return err
	}
	return c.sendXML(struct {
		XMLName      xml.Name `xml:"CopyPartResult"`
		LastModified string
		ETag         string
	}{LastModified: isoTime(p.modified), ETag: c.f.etag(p.md5)})
}

// copySource opens what x-amz-copy-source names. It is decoded as a query is,
// as real stores do: a + that is not escaped becomes a space.
func (c *obsCall) copySource() (*objectReader, error) {
	name, version, _ := strings.Cut(c.r.Header.Get(copyFrom), "?versionId=")
	src, err := url.QueryUnescape(name)
	bucket, key, ok := strings.Cut(strings.TrimPrefix(src, "/"), "/")
	if err != nil || !ok {
		return nil, refuse("InvalidArgument", "Copy Source must mention the source bucket and key.")
	}
	or, err := c.store.openVersion(bucket, key, version)
	if err != nil {
		return nil, err
	}
	if m := c.r.Header.Get("X-Amz-Copy-Source-If-Match"); m != "" && plainETag(m) != or.ETag {
		_ = or.Close()
		return nil, refuse("PreconditionFailed", "The ETag of the source does not match.")
	}
	return or, nil
}

func parseCopyRange(h string, size int64) (start, length int64, err error) {
	if size == 0 || size > maxPart && h == "" {
		return 0, 0, refuse("InvalidRequest", "The copy source must have 1 byte to 5 GiB.")
	}
	if h == "" {
		return 0, size, nil
	}
	from, to, ok := strings.Cut(strings.TrimPrefix(h, "bytes="), "-")
	a, err1 := strconv.ParseInt(from, 10, 64)
	z, err2 := strconv.ParseInt(to, 10, 64)
	switch {
	case !ok || !strings.HasPrefix(h, "bytes=") || err1 != nil || err2 != nil || a < 0 || z < a:
		return 0, 0, refuse("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last.")
	case z >= size || z-a >= maxPart:
		return 0, 0, refuse("InvalidRange", "The range is not in the source.")
	}
	return a, z - a + 1, nil
}

// completedPart is an entry of the list that completes an upload.
type completedPart struct {
	PartNumber int
	ETag       string
}

func (c *obsCall) completeUpload() error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	var in struct {
		XMLName xml.Name        `xml:"CompleteMultipartUpload"`
		Part    []completedPart `xml:"Part"`
	}
	if err := xml.Unmarshal(body, &in); err != nil || len(in.Part) > maxParts {
		return refuse("MalformedXML", "The XML you provided was not well-formed.")
	}
	ob, err := c.store.complete(c.bucket.Name, c.key, c.q.Get("uploadId"), in.Part)
	if err != nil {
		return err
	}
	c.setVersion(ob)
	return c.sendXML(struct {
		XMLName                     xml.Name `xml:"CompleteMultipartUploadResult"`
		NS                          string   `xml:"xmlns,attr"`
		Location, Bucket, Key, ETag string
	}{NS: s3XMLNS, Location: fmt.Sprintf("http://%s/%s", c.r.Host, c.key), Bucket: c.bucket.Name, Key: c.key, ETag: c.f.etag(ob.ETag)})
}

func (c *obsCall) abortUpload() error {
	if err := c.store.abort(c.bucket.Name, c.key, c.q.Get("uploadId")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
