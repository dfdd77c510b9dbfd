package imstest

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	maxKey    = 1024
	maxPut    = 5 << 30
	maxXML    = 8 << 20
	s3XMLNS   = "http://s3.amazonaws.com/doc/2006-03-01/"
	unsigned  = "UNSIGNED-PAYLOAD"
	copyFrom  = "X-Amz-Copy-Source"
	copyRange = "X-Amz-Copy-Source-Range"
)

// obsError is an error of the object store.
type obsError struct {
	Status        int
	Code, Message string
}

func (e *obsError) Error() string { return e.Code + ": " + e.Message }

// obsStatus has the status that goes with a code.
var obsStatus = map[string]int{
	"AccessDenied":                 403,
	"AuthorizationHeaderMalformed": 400,
	"BadDigest":                    400,
	"BucketAlreadyExists":          409,
	"EntityTooLarge":               400,
	"EntityTooSmall":               400,
	"IncompleteBody":               400,
	"InvalidAccessKeyId":           403,
	"InvalidArgument":              400,
	"InvalidBucketName":            400,
	"InvalidDigest":                400,
	"InvalidPart":                  400,
	"InvalidPartOrder":             400,
	"InvalidRange":                 416,
	"InvalidRequest":               400,
	"InvalidStorageClass":          400,
	"InvalidToken":                 403,
	"KeyTooLongError":              400,
	"MalformedXML":                 400,
	"MethodNotAllowed":             405,
	"MissingContentLength":         411,
	"NoSuchBucket":                 404,
	"NoSuchKey":                    404,
	"NoSuchUpload":                 404,
	"NoSuchVersion":                404,
	"NotImplemented":               501,
	"NotModified":                  304,
	"PreconditionFailed":           412,
	"RequestTimeTooSkewed":         403,
	"ServerSideEncryptionConfigurationNotFoundError": 404,
	"SignatureDoesNotMatch":                          403,
	"VirtualHostDomainRequired":                      403,
	"XAmzContentSHA256Mismatch":                      400,
}

// refuse makes an error with the status that goes with its code.
func refuse(code, message string) *obsError { return &obsError{obsStatus[code], code, message} }

func noSuchKey() *obsError { return refuse("NoSuchKey", "The specified key does not exist.") }

func noSuchBucket() *obsError { return refuse("NoSuchBucket", "The specified bucket does not exist.") }

// obs is the object store: the part of the S3 protocol that OBS has and a
// client for images needs, and nothing that OBS refuses.
type obs struct {
	*Server
}

// obsCall is a request to the object store.
type obsCall struct {
	*obs
	w      http.ResponseWriter
	r      *http.Request
	q      url.Values
	op     Op
	f      *Fault
	bucket bucket
	key    string
}

func (o *obs) serve(w http.ResponseWriter, r *http.Request, op Op, f *Fault) {
	setIDs(w.Header(), OBS, requestID(r))
	c := &obsCall{obs: o, w: w, r: r, op: op, f: f}
	err := c.check()
	if err == nil {
		err = c.perform()
	}
	if err != nil {
		c.fail(err)
	}
}

// check reports what makes the store refuse the request before it looks at the operation.
func (c *obsCall) check() (err error) {
	if err := refuseChunked(c.r); err != nil {
		return err
	}
	if err := c.checkV4(c.r); err != nil {
		return err
	}
	name, key, err := address(c.r)
	if err != nil {
		return err
	}
	if len(key) > maxKey {
		return refuse("KeyTooLongError", "The key is longer than 1024 bytes.")
	}
	c.key = key
	if c.q, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return refuse("InvalidArgument", "The query is malformed.")
	}
	if err := c.checkQuery(); err != nil {
		return err
	}
	var ok bool
	if c.bucket, ok = c.store.bucket(name); !ok && name != "" {
		return noSuchBucket()
	}
	return c.applyVariants()
}

// parameters are the query parameters that an operation knows.
var parameters = map[Op][]string{
	OpGetObject:    {"versionId"},
	OpHeadObject:   {"versionId"},
	OpDeleteObject: {"versionId"},
	OpListObjects:  {"prefix", "delimiter", "marker", "max-keys"},
	OpLocation:     {"location"},
	OpEncryption:   {"encryption"},
	OpVersioning:   {"versioning"},
	OpCreateUpload: {"uploads"},
	OpUploadPart:   {"partNumber", "uploadId"},
	OpCopyPart:     {"partNumber", "uploadId"},
	OpComplete:     {"uploadId"},
	OpAbort:        {"uploadId"},
	OpListParts:    {"uploadId", "max-parts", "part-number-marker"},
	OpListUploads:  {"uploads", "prefix", "max-uploads", "key-marker", "upload-id-marker"},
}

// checkQuery refuses parameters that the operation does not know. With PUT the
// service answers NoSuchKey, as reported for x-id, which the AWS SDK appends;
// other methods ignore x-id.
func (c *obsCall) checkQuery() error {
	for p := range c.q {
		switch {
		case slices.Contains(parameters[c.op], p):
		case c.r.Method == http.MethodPut:
			return noSuchKey()
		case p != "x-id":
			return refuse("NotImplemented", "The query parameter "+p+" is not supported.")
		}
	}
	return nil
}

func (c *obsCall) perform() error {
	switch c.op {
	case OpPutObject:
		return c.putObject()
	case OpGetObject, OpHeadObject:
		return c.getObject()
	case OpDeleteObject:
		return c.deleteObject()
	case OpListObjects:
		return c.listObjects()
	case OpHeadBucket, OpLocation, OpEncryption, OpVersioning:
		return c.describeBucket()
	case OpCreateUpload:
		return c.createUpload()
	case OpUploadPart:
		return c.uploadPart()
	case OpCopyPart:
		return c.copyPart()
	case OpComplete:
		return c.completeUpload()
	case OpAbort:
		return c.abortUpload()
	case OpListParts:
		return c.listParts()
	case OpListUploads:
		return c.listUploads()
	}
	return refuse("MethodNotAllowed", "The specified method is not allowed against this resource.")
}

// address splits host and path into bucket and key. Path style is for loopback
// names and IP literals; domain names are virtual-hosted, and the bare endpoint
// domain answers nothing but HEAD.
func address(r *http.Request) (bucket, key string, err error) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(strings.ToLower(host), "[]")
	path := strings.TrimPrefix(r.URL.Path, "/")
	bucket, key, _ = strings.Cut(path, "/")
	if host == "localhost" || net.ParseIP(host) != nil {
		return bucket, key, nil
	}
	if strings.HasPrefix(host, "obs.") {
		switch {
		case path == "" || r.Method == http.MethodHead:
			return bucket, key, nil
		case r.Method == http.MethodPut:
			return "", "", noSuchKey()
		}
		return "", "", refuse("VirtualHostDomainRequired", "Virtual host domain is required when accessing a specific bucket.")
	}
	if i := strings.LastIndex(host, ".obs."); i > 0 {
		return host[:i], path, nil
	}
	bucket, _, _ = strings.Cut(host, ".")
	return bucket, path, nil
}

// refuseChunked refuses the AWS SDK's chunked bodies and checksums, which OBS
// refuses or, worse, stores as they are.
func refuseChunked(r *http.Request) error {
	h := r.Header
	bad := strings.Contains(h.Get("Content-Encoding"), "aws-chunked") || len(r.Trailer) > 0 ||
		strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING-")
	for k := range h {
		if strings.HasPrefix(k, "X-Amz-Checksum-") || k == "X-Amz-Sdk-Checksum-Algorithm" || k == "X-Amz-Trailer" || k == "X-Amz-Decoded-Content-Length" {
			bad = true
		}
	}
	if bad {
		return refuse("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed: chunked bodies and checksum headers are not supported.")
	}
	return nil
}

func (c *obsCall) sendXML(v any) error {
	data, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/xml")
	_, _ = c.w.Write(append([]byte(xml.Header), data...))
	return nil
}

// fail answers with an error.
func (c *obsCall) fail(err error) {
	var oe *obsError
	if !errors.As(err, &oe) {
		c.logger.Error("object store", "op", c.op, "error", err)
		oe = &obsError{http.StatusInternalServerError, "InternalError", "Internal error."}
	}
	if c.r.Method == http.MethodHead || oe.Status == http.StatusNotModified {
		c.w.WriteHeader(oe.Status)
		return
	}
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.WriteHeader(oe.Status)
	_, _ = c.w.Write(errorXML(c.r, oe.Code, oe.Message))
}

func hostID(id string) string { return base64.StdEncoding.EncodeToString([]byte(id)) }
