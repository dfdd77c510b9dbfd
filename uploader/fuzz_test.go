package uploader

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzState: whatever lies in a state file, it is refused or a state that fits
// the limits, and that survives being written again.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"endpoint":"http://h","bucket":"images","key":"k","upload_id":"id","part_size":5242880,"size":9,` +
		`"zero_key":".zeros-0123456789abcdef","parts":{"1":{"md5":"00","etag":"x"}},"final_etag":"e","final_size":9}`))
	f.Add([]byte(`{"version":1,"zero_key":"other","size":-1,"part_size":0}`))
	f.Add([]byte(`{"version":2}`))
	s := &session{c: fuzzClient(f, &fixed{status: 200}), bucket: "images", key: "k", size: 9}
	f.Fuzz(func(t *testing.T, data []byte) {
		st, _ := parseState(data)
		if st == nil {
			return
		}
		if st.ZeroKey != "" {
			require.True(t, isZeroKey(st.ZeroKey))
		}
		if st.mismatch(s) == "" {
			require.GreaterOrEqual(t, st.PartSize, int64(MinPartSize))
			require.LessOrEqual(t, st.Size, st.PartSize*MaxParts)
		}
		again, err := json.Marshal(st)
		require.NoError(t, err)
		st, err = parseState(again)
		require.NoError(t, err)
		require.NotNil(t, st)
	})
}

// FuzzAnswer: no answer of a service makes the client panic, or go on for ever.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`<R><IsTruncated>true</IsTruncated><NextPartNumberMarker>3</NextPartNumberMarker><Part><PartNumber>1</PartNumber>`+
		`<ETag>"x"</ETag><Size>5</Size></Part></R>`))
	f.Add(200, []byte(`<R><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><Upload><Key>a</Key><UploadId>i</UploadId></Upload></R>`))
	f.Add(200, []byte(`<R><IsTruncated>true</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents></R>`))
	f.Add(403, []byte(`<Error><Code>AccessDenied</Code><Message>no</Message></Error>`))
	answer := &fixed{}
	c, ctx := fuzzClient(f, answer), context.Background()
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		answer.status, answer.body = status, body
		parts, _ := c.listParts(ctx, "images", "k", "id")
		for n := range parts {
			require.True(t, n >= 1 && n <= MaxParts)
		}
		for range c.Stale(ctx, "images", "", time.Time{}) {
		}
		for range c.Objects(ctx, "images", "") {
		}
		_, _, _ = c.createUpload(ctx, "images", "k", nil, nil)
		_, _ = c.CheckBucket(ctx, "images", "STANDARD")
		_ = c.ProbeCopy(ctx, "images", "k")
	})
}

type fixed struct {
	status int
	body   []byte
}

func (f *fixed) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(f.body)), ContentLength: -1, Request: req}, nil
}

func fuzzClient(t testing.TB, answer http.RoundTripper) *Client {
	t.Helper()
	c, err := NewClient(WithEndpoint("http://127.0.0.1:1"), WithRegion("r"), WithStaticCredentials("AK", "SK", ""),
		WithTransport(answer), WithRetries(1, time.Millisecond, time.Millisecond))
	require.NoError(t, err)
	return c
}
