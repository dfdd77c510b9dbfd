package uploader_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// answers is a service made of a function.
type answers func(*http.Request) (status int, header http.Header, body io.Reader)

func (f answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	status, header, body := f(req)
	if header == nil {
		header = http.Header{}
	}
	if body == nil {
		body = http.NoBody
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body), ContentLength: -1, Request: req}, nil
}

func (f answers) client(t testing.TB) *uploader.Client {
	t.Helper()
	c, err := uploader.NewClient(uploader.WithEndpoint("http://127.0.0.1:1"), uploader.WithRegion("r"),
		uploader.WithStaticCredentials("AK", "SK", ""), uploader.WithTransport(f),
		uploader.WithRetries(2, time.Millisecond, time.Millisecond))
	require.NoError(t, err)
	return c
}

// endless repeats a text for ever.
type endless struct {
	text string
	pos  int
	read *int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.text[e.pos:])
		n, e.pos = n+c, (e.pos+c)%len(e.text)
	}
	*e.read += n
	return n, nil
}

// TestEndlessListings: pages that do not advance, or never end, are an error.
func TestEndlessListings(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, tc := range map[string]struct {
		page string
		list func(c *uploader.Client) error
	}{
		"uploads, same marker": {
			`<R><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>b</NextUploadIdMarker></R>`, stale,
		},
		"uploads, two markers": {
			`<R><IsTruncated>true</IsTruncated><NextKeyMarker>%d</NextKeyMarker></R>`, stale,
		},
		"objects": {
			`<R><IsTruncated>true</IsTruncated><Contents><Key>a</Key></Contents></R>`,
			func(c *uploader.Client) error {
				for _, err := range c.Objects(ctx, "images", "") {
					if err != nil {
						return err
					}
				}
				return nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			c := answers(func(*http.Request) (int, http.Header, io.Reader) {
				n++
				page := tc.page
				if strings.Contains(page, "%d") {
					page = fmt.Sprintf(page, n%2)
				}
				return 200, nil, strings.NewReader(page)
			}).client(t)
			require.ErrorIs(t, tc.list(c), uploader.ErrAnswer)
			assert.LessOrEqual(t, n, 1000)
		})
	}
}

func stale(c *uploader.Client) error {
	_, err := c.AbortStale(context.Background(), "images", "", time.Time{})
	return err
}

// TestPartListings: what ListParts says is checked before it is believed.
func TestPartListings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		page string
		ok   bool
	}{
		"same marker":    {`<R><IsTruncated>true</IsTruncated><NextPartNumberMarker>0</NextPartNumberMarker></R>`, false},
		"marker of text": {`<R><IsTruncated>true</IsTruncated><NextPartNumberMarker>x</NextPartNumberMarker></R>`, false},
		"back and forth": {`<R><IsTruncated>true</IsTruncated><NextPartNumberMarker>%d</NextPartNumberMarker></R>`, false},
		"no such parts": {`<R><Part><PartNumber>-1</PartNumber></Part><Part><PartNumber>99999</PartNumber></Part>
			<Part><PartNumber>1</PartNumber><Size>-5</Size><ETag>"x"</ETag></Part><Part></Part></R>`, true},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFake(t)
			st, dir := fileStore(t)
			u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
			src := &sparse{data: noise(1, 12*mib), size: 12 * mib, failAt: 11 * mib}
			_, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
			require.ErrorIs(t, err, errFail)
			n := 0
			f.page = func(r *http.Request) string {
				if r.Method != http.MethodGet || !r.URL.Query().Has("uploadId") {
					return ""
				}
				n++
				if strings.Contains(tc.page, "%d") {
					return fmt.Sprintf(tc.page, 1+n%2)
				}
				return tc.page
			}
			src.failAt = 0
			res, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
			assert.Less(t, n, 10)
			if !tc.ok {
				require.ErrorIs(t, err, uploader.ErrAnswer)
				return
			}
			require.NoError(t, err)
			assert.Zero(t, res.ResumedParts)
			assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
			requireEmptyDir(t, dir)
		})
	}
}

// TestEndlessAnswers: no answer is read without bound, whatever its status.
func TestEndlessAnswers(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"elements": "<Upload><Key>k</Key></Upload>",
		"depth":    "<a>",
	} {
		for _, status := range []int{200, 400} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				read := 0
				c := answers(func(*http.Request) (int, http.Header, io.Reader) {
					return status, nil, io.MultiReader(strings.NewReader("<ListMultipartUploadsResult>"), &endless{text: text, read: &read})
				}).client(t)
				require.Error(t, stale(c))
				assert.Less(t, read, 9<<20, "one attempt, or two of an error")
			})
		}
	}
	const bomb = `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><r><Upload><Key>&b;&b;</Key></Upload></r>`
	c := answers(func(*http.Request) (int, http.Header, io.Reader) { return 200, nil, strings.NewReader(bomb) }).client(t)
	require.Error(t, stale(c), "entities are not expanded")
}

// TestOddETags: capitals are a digest too and are given back as they came; none
// at all is no basis for reading.
func TestOddETags(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.capitals = true
	st, _ := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	src := &sparse{data: noise(1, 12*mib), size: 12 * mib, failAt: 11 * mib}
	_, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
	require.ErrorIs(t, err, errFail)
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), "images", "k", plain{src}, src.size)
	require.NoError(t, err)
	assert.Equal(t, 2, res.ResumedParts)
	assert.False(t, res.Encrypted)
	assert.Equal(t, strings.ToUpper(res.ETag), res.ETag)

	for etag, want := range map[string]string{"": "", `"AbC-1"`: `"AbC-1"`} {
		match := ""
		c := answers(func(r *http.Request) (int, http.Header, io.Reader) {
			match = r.Header.Get("If-Match")
			h := http.Header{"Etag": {etag}, "Content-Length": {"4"}}
			if r.Method == http.MethodGet {
				h.Set("Content-Range", "bytes 0-3/4")
			}
			return 200, h, strings.NewReader("data")
		}).client(t)
		o, err := c.OpenObject(context.Background(), "images", "k")
		if want == "" {
			require.ErrorIs(t, err, uploader.ErrAnswer)
			continue
		}
		require.NoError(t, err)
		_, err = o.ReadAt(make([]byte, 4), 0)
		require.NoError(t, err)
		assert.Equal(t, want, match)
		require.NoError(t, o.Close())
	}
}
