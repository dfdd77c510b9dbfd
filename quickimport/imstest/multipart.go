package imstest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
)

func removeFile(name string) error { return os.Remove(name) }

func (o *obs) multipart(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	q := r.URL.Query()
	id := q.Get("uploadId")
	switch {
	case q.Has("uploads") && r.Method == http.MethodGet && key == "":
		return o.listUploads(w, q, bucket)
	case key == "":
		return gofakes3.ErrMethodNotAllowed
	case q.Has("uploads") && r.Method == http.MethodPost:
		return o.initUpload(w, r, bucket, key)
	case r.Method == http.MethodPut && r.Header.Get(copyFrom) != "":
		return o.copyPart(w, r, bucket, key)
	case r.Method == http.MethodPut:
		return o.uploadPart(w, r, bucket, key)
	case r.Method == http.MethodGet && id != "":
		return o.listParts(w, q, bucket, key)
	case r.Method == http.MethodPost && id != "":
		return o.completeUpload(w, r, bucket, key)
	case r.Method == http.MethodDelete && id != "":
		if err := o.store.abort(bucket, key, id); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return gofakes3.ErrMethodNotAllowed
}

func (o *obs) initUpload(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	class := r.Header.Get("X-Amz-Storage-Class")
	if class == "" {
		b, _ := o.store.bucket(bucket)
		class = b.StorageClass
	}
	id, err := o.store.beginUpload(bucket, key, class, userMeta(flat(r.Header)))
	if err != nil {
		return err
	}
	return writeXML(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		NS                    string   `xml:"xmlns,attr"`
		Bucket, Key, UploadId string
	}{NS: s3XMLNS, Bucket: bucket, Key: key, UploadId: id})
}

func partNumber(r *http.Request) (int, error) {
	n, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return 0, gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, "Part number must be an integer between 1 and 10000, inclusive.")
	}
	return n, nil
}

func (o *obs) uploadPart(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	n, err := partNumber(r)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("uploadId")
	if err := o.store.hasUpload(bucket, key, id); err != nil {
		return err
	}
	rc, err := o.receiveBody(r, maxPart)
	if err != nil {
		return err
	}
	p, err := o.store.putPart(bucket, key, id, n, rc)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+p.md5+`"`)
	return nil
}

func (o *obs) copyPart(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	n, err := partNumber(r)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("uploadId")
	if err := o.store.hasUpload(bucket, key, id); err != nil {
		return err
	}
	src, err := url.PathUnescape(r.Header.Get(copyFrom))
	srcBucket, srcKey, ok := strings.Cut(strings.TrimPrefix(src, "/"), "/")
	if err != nil || !ok {
		return gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, "Copy Source must mention the source bucket and key.")
	}
	or, err := o.store.open(srcBucket, srcKey)
	if err != nil {
		return err
	}
	defer or.Close()
	if m := r.Header.Get("X-Amz-Copy-Source-If-Match"); m != "" && strings.Trim(m, `"`) != or.ETag {
		return gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, "The source's ETag is another.")
	}
	start, length, err := parseCopyRange(r.Header.Get(copyRange), or.Size)
	if err != nil {
		return err
	}
	rc, err := o.store.receive(io.NewSectionReader(or, start, length))
	if err != nil {
		return err
	}
	p, err := o.store.putPart(bucket, key, id, n, rc)
	if err != nil {
		return err
	}
	return writeXML(w, struct {
		XMLName      xml.Name `xml:"CopyPartResult"`
		LastModified string
		ETag         string
	}{LastModified: p.modified.Format(time.RFC3339), ETag: `"` + p.md5 + `"`})
}

func parseCopyRange(h string, size int64) (start, length int64, err error) {
	if size == 0 || size > maxPart && h == "" {
		return 0, 0, &obsError{400, "InvalidRequest", "The copy source must have 1 byte to 5 GiB."}
	}
	if h == "" {
		return 0, size, nil
	}
	from, to, ok := strings.Cut(strings.TrimPrefix(h, "bytes="), "-")
	a, err1 := strconv.ParseInt(from, 10, 64)
	z, err2 := strconv.ParseInt(to, 10, 64)
	switch {
	case !ok || !strings.HasPrefix(h, "bytes=") || err1 != nil || err2 != nil || a < 0 || z < a:
		return 0, 0, gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last.")
	case z >= size || z-a >= maxPart:
		return 0, 0, gofakes3.ErrorMessage(gofakes3.ErrInvalidRange, "The range is not in the source.")
	}
	return a, z - a + 1, nil
}

func (o *obs) completeUpload(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	body, err := readVerified(r)
	if err != nil {
		return err
	}
	var in gofakes3.CompleteMultipartUploadRequest
	if err := xml.Unmarshal(body, &in); err != nil || len(in.Parts) > maxParts {
		return gofakes3.ErrorMessage(gofakes3.ErrMalformedXML, "The XML you provided was not well-formed.")
	}
	ob, err := o.store.complete(bucket, key, r.URL.Query().Get("uploadId"), in.Parts)
	if err != nil {
		return err
	}
	return writeXML(w, struct {
		XMLName                     xml.Name `xml:"CompleteMultipartUploadResult"`
		NS                          string   `xml:"xmlns,attr"`
		Location, Bucket, Key, ETag string
	}{NS: s3XMLNS, Location: fmt.Sprintf("http://%s/%s", r.Host, key), Bucket: bucket, Key: key, ETag: `"` + ob.ETag + `"`})
}

func pageSize(q url.Values, name string) (int, error) {
	v := q.Get(name)
	if v == "" {
		return 1000, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, name+" must be a positive number.")
	}
	return min(n, 1000), nil
}

func (o *obs) listParts(w http.ResponseWriter, q url.Values, bucket, key string) error {
	limit, err := pageSize(q, "max-parts")
	if err != nil {
		return err
	}
	marker, err := strconv.Atoi("0" + q.Get("part-number-marker"))
	if err != nil {
		return gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument, "part-number-marker must be a number.")
	}
	out := gofakes3.ListMultipartUploadPartsResult{Bucket: bucket, Key: key, UploadID: gofakes3.UploadID(q.Get("uploadId")),
		PartNumberMarker: marker, MaxParts: int64(limit)}
	o.store.mu.Lock()
	u, err := o.store.find(bucket, key, q.Get("uploadId"))
	if err != nil {
		o.store.mu.Unlock()
		return err
	}
	out.StorageClass = gofakes3.StorageClass(u.StorageClass)
	for n, p := range u.parts {
		if n > marker {
			out.Parts = append(out.Parts, gofakes3.ListMultipartUploadPartItem{PartNumber: n, ETag: `"` + p.md5 + `"`,
				Size: p.size, LastModified: gofakes3.NewContentTime(p.modified)})
		}
	}
	o.store.mu.Unlock()
	slices.SortFunc(out.Parts, func(a, b gofakes3.ListMultipartUploadPartItem) int { return a.PartNumber - b.PartNumber })
	if len(out.Parts) > limit {
		out.Parts, out.IsTruncated = out.Parts[:limit], true
		out.NextPartNumberMarker = out.Parts[limit-1].PartNumber
	}
	return writeXML(w, out)
}

func (o *obs) listUploads(w http.ResponseWriter, q url.Values, bucket string) error {
	limit, err := pageSize(q, "max-uploads")
	if err != nil {
		return err
	}
	keyMarker, idMarker := q.Get("key-marker"), q.Get("upload-id-marker")
	out := gofakes3.ListMultipartUploadsResult{Bucket: bucket, KeyMarker: keyMarker,
		UploadIDMarker: gofakes3.UploadID(idMarker), Prefix: q.Get("prefix"), MaxUploads: int64(limit)}
	for _, u := range o.store.sortedUploads(bucket) {
		after := keyMarker == "" || u.Key > keyMarker || u.Key == keyMarker && idMarker != "" && u.ID > idMarker
		if !after || !strings.HasPrefix(u.Key, out.Prefix) {
			continue
		}
		if len(out.Uploads) == limit {
			last := out.Uploads[limit-1]
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIDMarker = true, last.Key, last.UploadID
			break
		}
		out.Uploads = append(out.Uploads, gofakes3.ListMultipartUploadItem{Key: u.Key, UploadID: gofakes3.UploadID(u.ID),
			StorageClass: gofakes3.StorageClass(u.StorageClass), Initiated: gofakes3.NewContentTime(u.Initiated)})
	}
	return writeXML(w, out)
}
