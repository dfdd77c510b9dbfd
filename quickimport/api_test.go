package quickimport_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

const testAK, testSK = "AKTESTTESTTESTTEST00", "sk-secret-sk-secret-sk-secret-sk-secret0"

func testClient(t *testing.T, h http.HandlerFunc, opts ...quickimport.Option) *quickimport.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := quickimport.New(append([]quickimport.Option{
		quickimport.WithRegion("cn-north-4"),
		quickimport.WithIMSEndpoint(srv.URL), quickimport.WithOBSEndpoint(srv.URL), quickimport.WithIAMEndpoint(srv.URL),
		quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: "st-secret"})),
		quickimport.WithProjectID("p1"), quickimport.WithPolling(time.Millisecond, 5*time.Millisecond),
		quickimport.WithRetryBudget(time.Second), quickimport.WithSettleTime(100 * time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	return c
}

// checkSignature computes the signature from the API notes, over the request
// as it arrived, and shares nothing with the signer.
func checkSignature(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	m := regexp.MustCompile(`^SDK-HMAC-SHA256 Access=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$`).FindStringSubmatch(r.Header.Get("Authorization"))
	require.NotNil(t, m, "Authorization: %q", r.Header.Get("Authorization"))
	require.Equal(t, testAK, m[1])
	uri := r.URL.EscapedPath()
	if uri[len(uri)-1] != '/' {
		uri += "/"
	}
	query := strings.Split(r.URL.RawQuery, "&")
	sort.Strings(query)
	canonical := r.Method + "\n" + uri + "\n" + strings.Join(query, "&") + "\n"
	for _, h := range strings.Split(m[2], ";") {
		v := r.Header.Get(h)
		if h == "host" {
			v = r.Host
		}
		canonical += h + ":" + strings.TrimSpace(v) + "\n"
	}
	sum := sha256.Sum256(body)
	canonical += "\n" + m[2] + "\n" + hex.EncodeToString(sum[:])
	sum = sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(testSK))
	fmt.Fprintf(mac, "SDK-HMAC-SHA256\n%s\n%x", r.Header.Get("X-Sdk-Date"), sum)
	require.Equal(t, hex.EncodeToString(mac.Sum(nil)), m[3])
	for _, want := range []string{"host", "x-sdk-date", "x-project-id", "x-security-token"} {
		require.Contains(t, strings.Split(m[2], ";"), want)
	}
}

func TestSignatureOfQueries(t *testing.T) {
	for _, name := range []string{"plain", "with space", "a+b&c=d/e%2F", "中文-é~"} {
		c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
			checkSignature(t, r, nil)
			require.Equal(t, name, r.URL.Query().Get("name"))
			io.WriteString(w, `{"images":[]}`)
		})
		_, err := c.ImagesByName(t.Context(), name)
		require.NoError(t, err)
	}
}

func TestTokenAuthentication(t *testing.T) {
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "tok-secret", r.Header.Get("X-Auth-Token"))
		require.Empty(t, r.Header.Get("Authorization"))
		io.WriteString(w, `{"images":[]}`)
	}, quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{Token: "tok-secret"})))
	_, err := c.ImagesByName(t.Context(), "x")
	require.NoError(t, err)
}

func TestBothErrorForms(t *testing.T) {
	tests := []struct {
		status     int
		body       string
		code, text string
		is         error
	}{
		{400, `{"error":{"code":"IMG.0024","message":"The imagetype is invalid."}}`, "IMG.0024", "The imagetype is invalid.", nil},
		{400, `{"error":{"code":"IMG.0009","message":"exists"}}`, "IMG.0009", "exists", quickimport.ErrNameTaken},
		{401, `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information","request_id":"r-1"}`, "APIGW.0301", "Incorrect IAM authentication information", quickimport.ErrAuthentication},
		{403, `<html><title>Blocked by proxy</title></html>`, "", "a web page titled Blocked by proxy", quickimport.ErrForbidden},
	}
	for _, tt := range tests {
		c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", "r-1")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := c.CreateImage(t.Context(), systemDisk())
		var api *quickimport.APIError
		require.ErrorAs(t, err, &api)
		require.Equal(t, []any{tt.status, tt.code, tt.text, "r-1", false}, []any{api.StatusCode, api.Code, api.Message, api.RequestID, api.Retryable})
		if tt.is != nil {
			require.ErrorIs(t, err, tt.is)
		}
		for _, secret := range []string{testSK, "st-secret"} {
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, api), secret)
		}
	}
}

// A lost answer is never followed by a second POST.
func TestCreateImageNeverRepeatsALostPost(t *testing.T) {
	var posts atomic.Int32
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
			io.Copy(io.Discard, r.Body)
			conn, _, err := w.(http.Hijacker).Hijack()
			require.NoError(t, err)
			conn.Close()
			return
		}
		io.WriteString(w, `{"images":[]}`)
	})
	_, err := c.CreateImage(t.Context(), systemDisk())
	require.ErrorIs(t, err, quickimport.ErrUncertain)
	require.EqualValues(t, 1, posts.Load())
}

// Whatever a server error says, the request may have been carried out: it is not
// sent again, unless the answer has a documented code that says otherwise.
func TestCreateImageAfterServerErrors(t *testing.T) {
	for _, status := range []int{500, 501, 502, 503, 504, 520, 408} {
		for name, body := range map[string]string{"empty": "", "html": "<html><title>Bad Gateway</title></html>", "gateway": `{"error_code":"APIGW.0201","error_msg":"Backend timeout"}`} {
			var n atomic.Int32
			c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				w.WriteHeader(status)
				io.WriteString(w, body)
			})
			_, err := c.CreateImage(t.Context(), systemDisk())
			require.ErrorIs(t, err, quickimport.ErrUncertain, "%d %s", status, name)
			require.EqualValues(t, 1, n.Load(), "%d %s", status, name)
		}
	}
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		io.WriteString(w, `{"error":{"code":"IMG.0057","message":"in the wrong format"}}`)
	})
	_, err := c.CreateImage(t.Context(), systemDisk())
	require.NotErrorIs(t, err, quickimport.ErrUncertain)
	require.ErrorContains(t, err, "IMG.0057")
}

func TestWaitJob(t *testing.T) {
	answer := func(status string, extra string) string {
		return fmt.Sprintf(`{"job_id":"j1","status":%q,"error_code":null,"fail_reason":null,"entities":{"process_percent":42.5%s}}`, status, extra)
	}
	serve := func(answers ...string) *quickimport.Client {
		var n atomic.Int32
		return testClient(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/cloudimages/job/j1" {
				w.WriteHeader(404) // an installation without the newer query
				return
			}
			require.Equal(t, "/v1/p1/jobs/j1", r.URL.Path)
			a := answers[min(int(n.Add(1)), len(answers))-1]
			if a == "503" {
				w.WriteHeader(503)
				return
			}
			io.WriteString(w, a)
		})
	}
	job, err := serve(answer("INIT", ""), "503", answer("SOMETHING_NEW", ""), answer("SUCCESS", `,"image_id":"i1"`)).WaitJob(t.Context(), "j1")
	require.NoError(t, err)
	require.Equal(t, "i1", job.Entities.ImageID)

	_, err = serve(answer("SUCCESS", "")).WaitJob(t.Context(), "j1")
	require.ErrorIs(t, err, quickimport.ErrProtocol)

	_, err = serve(answer("FAIL", `,"error":"broken block","addition_error_code":"IMG.0057"`)).WaitJob(t.Context(), "j1")
	var failed *quickimport.JobError
	require.ErrorAs(t, err, &failed)
	require.Contains(t, err.Error(), "broken block")
	require.Contains(t, err.Error(), "IMG.0057")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = serve(answer("RUNNING", "")).WaitJob(ctx, "j1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Contains(t, err.Error(), "continues in the cloud")
}

func TestCredentialsNeverShow(t *testing.T) {
	c := quickimport.Credentials{AccessKey: testAK, SecretKey: testSK, SecurityToken: "st-secret", Token: "tok-secret"}
	js, err := json.Marshal(c)
	require.NoError(t, err)
	out := fmt.Sprintf("%v %+v %#v %s %q %x", c, c, c, &c, c, c) + string(js)
	for _, secret := range []string{testAK, testSK, "st-secret", "tok-secret"} {
		require.NotContains(t, out, secret)
	}
}

func TestEnvCredentials(t *testing.T) {
	for _, n := range []string{"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_PROJECT_ID", "HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN", "HW_PROJECT_ID"} {
		t.Setenv(n, "")
	}
	_, err := quickimport.EnvCredentials().Credentials(t.Context())
	require.ErrorIs(t, err, quickimport.ErrNoCredentials)
	t.Setenv("HW_ACCESS_KEY", "hwak")
	t.Setenv("HW_SECRET_KEY", "hwsk")
	t.Setenv("HW_SECURITY_TOKEN", "hwst")
	c, err := quickimport.EnvCredentials().Credentials(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"hwak", "hwsk", "hwst"}, []string{c.AccessKey, c.SecretKey, c.SecurityToken})
	t.Setenv("HUAWEICLOUD_SDK_AK", "sdkak")
	t.Setenv("HUAWEICLOUD_SDK_SK", "sdksk")
	c, err = quickimport.EnvCredentials().Credentials(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"sdkak", "sdksk", ""}, []string{c.AccessKey, c.SecretKey, c.SecurityToken}, "the sets are not mixed")
}

// IMG.0194 is more data images in one batch than allowed: waiting cures nothing.
func TestBatchLimitIsNotFlowControl(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"IMG.0060", "APIGW.0308"} {
		require.ErrorIs(t, &quickimport.APIError{StatusCode: 400, Code: code}, quickimport.ErrFlowControl)
	}
	require.NotErrorIs(t, &quickimport.APIError{StatusCode: 400, Code: "IMG.0194"}, quickimport.ErrFlowControl)
	srv := imstest.NewServer(t)
	srv.Fail(imstest.Fault{Op: imstest.OpCreate, Status: 400, Code: "IMG.0194"})
	_, err := cloudClient(t, srv).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	var api *quickimport.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, "IMG.0194", api.Code)
	require.Empty(t, srv.Images())
}
