package uploader_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeStore is a store in memory that can be what a real one on loopback
// cannot: encrypting, elsewhere, of another class. It records what it is asked.
type fakeStore struct {
	*httptest.Server
	encrypt bool              // ETags are no MD5
	silent  bool              // and no header says so
	header  map[string]string // added to every answer
	refuse  func(*http.Request) (status int, code string)
	page    func(*http.Request) string // answer in place of the right one, "" for none

	sse      string                                                   // header of encryption, "aws:kms" by default
	finalTag func(string) string                                      // changes the ETag of an object of parts
	hook     func(w http.ResponseWriter, r *http.Request) (done bool) // called first, without the lock

	capitals bool   // in ETags
	weak     bool   // W/ before ETags
	version  string // of every object that is put

	mu      sync.Mutex // guards all below
	objects map[string][]byte
	meta    map[string]http.Header
	others  []string // uploads of other hosts
	parts   map[int][]byte
	upload  bool
	reqs    []*http.Request
	sent    int
}

func newFake(t testing.TB) (*fakeStore, site) {
	t.Helper()
	f := &fakeStore{objects: map[string][]byte{}, parts: map[int][]byte{}, meta: map[string]http.Header{}, sse: "aws:kms"}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f, site{endpoint: f.URL, region: testRegion, ak: testAK, sk: testSK, bucket: "images"}
}

func (f *fakeStore) etag(b []byte) string {
	sum := md5.Sum(b)
	if f.encrypt {
		sum[0] ^= 0xff
	}
	return f.form(hex.EncodeToString(sum[:]))
}

func (f *fakeStore) form(etag string) string {
	if f.capitals {
		return strings.ToUpper(etag)
	}
	return etag
}

// quote writes an ETag as a header has it.
func (f *fakeStore) quote(etag string) string {
	if f.weak {
		return `W/"` + etag + `"`
	}
	return `"` + etag + `"`
}

func metadata(h http.Header) http.Header {
	m := http.Header{}
	for k, v := range h {
		if strings.HasPrefix(k, "X-Amz-Meta-") {
			m[k] = v
		}
	}
	return m
}

func (f *fakeStore) whole(key string) string {
	b := f.objects[key]
	if n := len(f.parts); n > 0 && !strings.Contains(key, ".zeros-") {
		h := md5.New()
		for i := 1; i <= n; i++ {
			s := md5.Sum(f.parts[i])
			h.Write(s[:])
		}
		s := h.Sum(nil)
		if f.encrypt {
			s[0] ^= 0xff
		}
		tag := fmt.Sprintf("%x-%d", s, n)
		if f.finalTag != nil {
			tag = f.finalTag(tag)
		}
		return f.form(tag)
	}
	return f.etag(b)
}

func (f *fakeStore) fail(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "REQ-1")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no %s</Message></Error>", code, code)
	}
}

func (f *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.hook != nil && f.hook(w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reqs = append(f.reqs, r)
	if f.refuse != nil {
		if status, code := f.refuse(r); status != 0 {
			f.fail(w, r, status, code)
			return
		}
	}
	if f.page != nil {
		if text := f.page(r); text != "" {
			_, _ = io.WriteString(w, text)
			return
		}
	}
	for k, v := range f.header {
		w.Header().Set(k, v)
	}
	if f.version != "" {
		w.Header().Set("X-Amz-Version-Id", f.version)
	}
	if (f.encrypt || f.sse == "AES256") && !f.silent {
		w.Header().Set("X-Amz-Server-Side-Encryption", f.sse)
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch q := r.URL.Query(); {
	case key == "" && q.Has("encryption"):
		if !f.encrypt && f.sse != "AES256" {
			f.fail(w, r, 404, "ServerSideEncryptionConfigurationNotFoundError")
			return
		}
		_, _ = io.WriteString(w, `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>`+f.sse+`</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`)
	case q.Has("uploads") && r.Method == http.MethodGet:
		f.listUploads(w)
	case key == "":
	case q.Has("uploads"):
		f.upload = true
		clear(f.parts)
		f.meta[key] = metadata(r.Header)
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id-1</UploadId></InitiateMultipartUploadResult>")
	case q.Has("partNumber"):
		f.putPart(w, r, q.Get("partNumber"), body)
	case q.Has("uploadId"):
		f.multipart(w, r, key)
	case r.Method == http.MethodPut:
		f.sent += len(body)
		f.objects[key] = body
		f.meta[key] = metadata(r.Header)
		w.Header().Set("ETag", f.quote(f.etag(body)))
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(204)
	default:
		b, ok := f.objects[key]
		if !ok {
			f.fail(w, r, 404, "NoSuchKey")
			return
		}
		for k, v := range f.meta[key] {
			w.Header()[k] = v
		}
		w.Header().Set("ETag", f.quote(f.whole(key)))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
	}
}

func (f *fakeStore) putPart(w http.ResponseWriter, r *http.Request, num string, body []byte) {
	var n int
	_, _ = fmt.Sscan(num, &n)
	if src := r.Header.Get("X-Amz-Copy-Source"); src != "" {
		_, key, _ := strings.Cut(src, "/")
		b := f.objects[key]
		if rng := r.Header.Get("X-Amz-Copy-Source-Range"); rng != "" {
			var from, to int
			_, _ = fmt.Sscanf(rng, "bytes=%d-%d", &from, &to)
			b = b[from : to+1]
		}
		f.parts[n] = b
		_, _ = fmt.Fprintf(w, "<CopyPartResult><ETag>%s</ETag></CopyPartResult>", f.etag(b))
		return
	}
	f.sent += len(body)
	f.parts[n] = body
	w.Header().Set("ETag", f.quote(f.etag(body)))
}

func (f *fakeStore) listUploads(w io.Writer) {
	_, _ = io.WriteString(w, "<ListMultipartUploadsResult>")
	for _, id := range f.others {
		_, _ = fmt.Fprintf(w, "<Upload><Key>k</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>", id, time.Now().UTC().Format(time.RFC3339))
	}
	_, _ = io.WriteString(w, "</ListMultipartUploadsResult>")
}

func (f *fakeStore) multipart(w http.ResponseWriter, r *http.Request, key string) {
	if id := r.URL.Query().Get("uploadId"); id != "id-1" {
		if r.Method == http.MethodDelete {
			f.others = slices.DeleteFunc(f.others, func(o string) bool { return o == id })
			w.WriteHeader(204)
			return
		}
		_, _ = io.WriteString(w, "<ListPartsResult/>")
		return
	}
	if !f.upload {
		f.fail(w, r, 404, "NoSuchUpload")
		return
	}
	switch r.Method {
	case http.MethodDelete:
		f.upload = false
		w.WriteHeader(204)
	case http.MethodPost:
		var whole []byte
		for i := 1; i <= len(f.parts); i++ {
			whole = append(whole, f.parts[i]...)
		}
		f.objects[key], f.upload = whole, false
		_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", f.whole(key))
	default:
		type part struct {
			PartNumber int
			ETag       string
			Size       int
		}
		out := struct {
			XMLName xml.Name `xml:"ListPartsResult"`
			Part    []part
		}{}
		for n, b := range f.parts {
			out.Part = append(out.Part, part{n, f.etag(b), len(b)})
		}
		sort.Slice(out.Part, func(i, j int) bool { return out.Part[i].PartNumber < out.Part[j].PartNumber })
		_ = xml.NewEncoder(w).Encode(out)
	}
}
