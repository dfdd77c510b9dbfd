package imstest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

// rawCloud has one RAW disk in its bucket, ready for system(nil).
func rawCloud(t *testing.T, opts ...imstest.Option) *imstest.Server {
	t.Helper()
	s := imstest.NewServer(t, append([]imstest.Option{imstest.WithJobDuration(0)}, opts...)...)
	require.NoError(t, s.PutObject("images", "disk.raw", strings.NewReader("d")))
	require.NoError(t, s.PutObject("images", "disk.mf", strings.NewReader("m")))
	return s
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

// send sends a request with a token and returns whatever comes back.
func send(s *imstest.Server, method, path, body string) reply {
	r, err := http.NewRequest(method, s.IMSEndpoint()+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	r.Header.Set("X-Auth-Token", s.Token())
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return reply{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(b), err}
}

func create(t *testing.T, s *imstest.Server, name string) reply {
	t.Helper()
	return send(s, "POST", action, fmt.Sprintf(`{"name":%q,"os_version":"CentOS 7.0 64bit","image_url":"images:disk.raw","min_disk":40}`, name))
}

// started starts a job and returns its id.
func started(t *testing.T, s *imstest.Server, name string) string {
	t.Helper()
	require.Equal(t, 200, create(t, s, name).status)
	return s.Jobs()[len(s.Jobs())-1].ID
}

func fail(t *testing.T, s *imstest.Server, text string) {
	t.Helper()
	f, err := imstest.ParseFault(text)
	require.NoError(t, err)
	s.Fail(f)
}

func TestAcceptedInSpiteOfTheAnswer(t *testing.T) {
	t.Parallel()
	for _, effect := range []string{
		"500-after-accept", "502-after-accept,shape=html", "503-after-accept,shape=empty", "504-after-accept,code=APIGW.0201",
		"drop-after-accept", "reset-after-accept",
	} {
		t.Run(effect, func(t *testing.T) {
			t.Parallel()
			s := rawCloud(t)
			fail(t, s, "create:"+effect+",list-late=2")
			first := create(t, s, "web")
			if strings.Contains(effect, "accept") && first.err == nil {
				require.Equal(t, effect[:3], fmt.Sprint(first.status))
			}
			require.Len(t, s.Images(), 1, "it was carried out")
			list := "/v2/cloudimages?name=web"
			require.Empty(t, call(t, s, "GET", list, nil).JSON["images"])
			require.Equal(t, 200, create(t, s, "web").status, "a second POST makes a duplicate while the image is not listed")
			require.Len(t, s.Images(), 2)
			require.Len(t, call(t, s, "GET", list, nil).JSON["images"], 1)
			require.Len(t, call(t, s, "GET", list, nil).JSON["images"], 2)
			require.Equal(t, 400, create(t, s, "web").status, "the name is taken once it is listed")
		})
	}
}

func TestListedOnRelease(t *testing.T) {
	t.Parallel()
	s := rawCloud(t)
	s.Fail(imstest.AcceptThen(504, -1))
	require.Equal(t, 504, create(t, s, "web").status)
	for range 20 {
		require.Empty(t, call(t, s, "GET", "/v2/cloudimages", nil).JSON["images"])
	}
	s.ListImages()
	require.Len(t, call(t, s, "GET", "/v2/cloudimages", nil).JSON["images"], 1)
}

func TestJobQuirks(t *testing.T) {
	t.Parallel()
	s := rawCloud(t)
	fail(t, s, "create:job-code=IMG.0057,job-reason=damaged:2+1")
	good, failed := started(t, s, "good"), started(t, s, "bad")
	require.Equal(t, "SUCCESS", wait(t, s, good)["status"])
	require.Equal(t, "FAIL", wait(t, s, failed)["status"])
	ent := func(j map[string]any) map[string]any { return j["entities"].(map[string]any) }
	sub := func(j map[string]any) map[string]any { return ent(j)["sub_jobs_result"].([]any)[0].(map[string]any) }
	for _, c := range []struct {
		effects string
		id      string
		check   func(t *testing.T, j map[string]any)
	}{
		{"no-image-id", good, func(t *testing.T, j map[string]any) { require.NotContains(t, ent(j), "image_id") }},
		{"early-image-id", good, func(t *testing.T, j map[string]any) { require.NotContains(t, ent(j), "image_id") }},
		{"sub-job-image-id", good, func(t *testing.T, j map[string]any) {
			require.NotContains(t, ent(j), "image_id")
			require.NotEmpty(t, ent(sub(j))["image_id"])
		}},
		{"percent-fraction", good, func(t *testing.T, j map[string]any) { require.Equal(t, 1.0, ent(j)["process_percent"]) }},
		{"percent-string", good, func(t *testing.T, j map[string]any) { require.Equal(t, "100", ent(j)["process_percent"]) }},
		{"percent-null", good, func(t *testing.T, j map[string]any) { require.Nil(t, ent(j)["process_percent"]) }},
		{"percent-negative", good, func(t *testing.T, j map[string]any) { require.Equal(t, -5.0, ent(j)["process_percent"]) }},
		{"entities-list,no-image-id", good, func(t *testing.T, j map[string]any) { require.Len(t, j["entities"], 1) }},
		{"entities-null", good, func(t *testing.T, j map[string]any) { require.Nil(t, j["entities"]) }},
		{"local-times", good, func(t *testing.T, j map[string]any) { require.Contains(t, j["end_time"], "Jun-2015") }},
		{"job-status=Cancelled", good, func(t *testing.T, j map[string]any) { require.Equal(t, "Cancelled", j["status"]) }},
		{"sub-job-reason", failed, func(t *testing.T, j map[string]any) {
			require.Nil(t, j["fail_reason"])
			require.Equal(t, "damaged", sub(j)["fail_reason"])
		}},
		{"entities-reason", failed, func(t *testing.T, j map[string]any) {
			require.Nil(t, j["fail_reason"])
			require.Equal(t, "damaged", ent(j)["error"])
		}},
		{"error-objects", failed, func(t *testing.T, j map[string]any) { require.IsType(t, map[string]any{}, j["fail_reason"]) }},
		{"error-numbers", failed, func(t *testing.T, j map[string]any) { require.Equal(t, 57.0, j["error_code"]) }},
		{"no-status", failed, func(t *testing.T, j map[string]any) { require.NotContains(t, j, "status") }},
	} {
		t.Run(c.effects, func(t *testing.T) {
			s.ClearFaults()
			fail(t, s, "job:"+c.effects+":all")
			c.check(t, call(t, s, "GET", "/v1/cloudimages/job/"+c.id, nil).JSON)
			require.Equal(t, 200, send(s, "GET", "/v1/"+s.ProjectID()+"/jobs/"+c.id, "").status)
		})
	}
	s.ClearFaults()
	fail(t, s, "job:404,state=SUCCESS:all")
	fail(t, s, "job-by-id:403:all")
	require.Equal(t, 404, send(s, "GET", "/v1/cloudimages/job/"+good, "").status)
	require.Equal(t, 403, send(s, "GET", "/v1/cloudimages/job/"+failed, "").status)
	require.Equal(t, 200, send(s, "GET", "/v1/"+s.ProjectID()+"/jobs/"+failed, "").status)
}

func TestShapes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := imstest.NewServer(t, imstest.WithClock(func() time.Time { return now }))
	for shape, want := range map[imstest.Shape]string{
		imstest.ShapeIMS: `{"error":{"code":"IMG.0060","message":"busy"}}`, imstest.ShapeString: `{"error":"busy"}`,
		imstest.ShapeFlat: `{"code":"IMG.0060","message":"busy"}`, imstest.ShapeBadRequest: `{"badRequest":{"code":429,"message":"busy"}}`,
		imstest.ShapeHTML: "<title>busy</title>", imstest.ShapeText: "busy", imstest.ShapeObjects: `"message":{"text":"busy"}`,
		imstest.ShapeNumbers: `"error_msg":429`, imstest.ShapeXML: "<Message>busy</Message>", imstest.ShapeRedirect: "busy",
		imstest.ShapeGateway: `"error_msg":"busy"`, imstest.ShapeNull: "null", imstest.ShapeList: `[{"code"`,
	} {
		s.ClearFaults()
		s.Fail(imstest.Fault{Op: imstest.OpImages, Status: 429, Code: "IMG.0060", Message: "busy", Shape: shape, RetryAfter: "+90s"})
		r := send(s, "GET", "/v2/cloudimages", "")
		require.Equal(t, 429, r.status)
		require.Contains(t, r.body, want, shape)
		require.Equal(t, now.Add(90*time.Second).Format(http.TimeFormat), r.header.Get("Retry-After"))
		require.Equal(t, now.Format(http.TimeFormat), r.header.Get("Date"))
	}
	fail(t, s, "images:400,message={request}")
	r := send(s, "GET", "/v2/cloudimages", "")
	require.Contains(t, r.body, s.Token(), "the request comes back")
	fail(t, s, "images:200,shape=empty")
	require.Empty(t, send(s, "GET", "/v2/cloudimages", "").body)
	fail(t, s, "images:cut-after=3")
	require.Error(t, send(s, "GET", "/v2/cloudimages", "").err)
}

// Not parallel: it captures what net/http logs.
func TestUnsolicitedAnswer(t *testing.T) {
	s := rawCloud(t)
	var mu sync.Mutex
	var logged bytes.Buffer
	log.SetOutput(writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return logged.Write(p) }))
	defer log.SetOutput(io.Discard)
	fail(t, s, "images:unsolicited")
	tr := &http.Transport{}
	r, err := http.NewRequest("GET", s.IMSEndpoint()+"/v2/cloudimages", nil)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", s.Token())
	res, err := tr.RoundTrip(r)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"images"`)
	require.NoError(t, res.Body.Close())
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(logged.String(), "Unsolicited") },
		10*time.Second, time.Millisecond)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestParseFault(t *testing.T) {
	t.Parallel()
	f, err := imstest.ParseFault("create:504-after-accept,list-late=3,retry-after=+1m:2+all")
	require.NoError(t, err)
	require.Equal(t, imstest.Fault{Op: imstest.OpCreate, Drop: true, Status: 504, ListLate: 3, RetryAfter: "+1m", Nth: 2, Count: -1}, f)
	f, err = imstest.ParseFault("obs:drop,path=a:b,query=x=y")
	require.NoError(t, err)
	require.Equal(t, imstest.Fault{Service: imstest.OBS, DropBefore: true, Path: "a:b", Query: "x=y"}, f)
	for _, bad := range []string{"", "create", "create:", "creat:500", "create:bang", "create:99", "create:delay=x", "create:delay=-1s",
		"create:500:0", "create:500:x+1", "create:shape=round", "create:after=never", "create:list-late=0", "create:cut-after=-1",
		"create:code=", "create:colour=red", "create:500,"} {
		_, err := imstest.ParseFault(bad)
		require.ErrorContains(t, err, "imstest: fault", bad)
	}
}

func TestImageRules(t *testing.T) {
	t.Parallel()
	s := rawCloud(t, imstest.WithVariants(imstest.KnownOSVersions, imstest.NoWindows, imstest.MinDiskFloor, imstest.NoLazyLoading))
	_, err := s.AddImage(imstest.Image{Name: "web", Visibility: "public"})
	require.NoError(t, err)
	tags := make([]string, 11)
	for i := range tags {
		tags[i] = fmt.Sprintf("k%d.v", i)
	}
	type m = map[string]any
	data := m{"type": "DataImage", "os_version": nil, "os_type": "Windows"}
	for code, change := range map[string]m{
		"IMG.0115": {"tags": tags},
		"IMG.0056": {"os_version": "CentOS 7.0"},
		"IMG.0055": {"min_disk": 9},
	} {
		require.Equal(t, code, call(t, s, "POST", action, system(change)).code())
	}
	require.Equal(t, "IMG.0056", call(t, s, "POST", action, system(m{"os_version": "Windows Server 2019 Standard 64bit"})).code())
	data["min_disk"] = 19
	require.Equal(t, "IMG.0055", call(t, s, "POST", action, system(data)).code())
	require.Equal(t, 200, call(t, s, "POST", action, system(m{"tags": tags[:10]})).Status, "a public image may have the name")
	private := call(t, s, "GET", "/v2/cloudimages?name=web&__imagetype=private", nil).JSON["images"].([]any)
	require.Len(t, private, 1)
	require.Equal(t, "False", private[0].(m)["__lazyloading"])
	require.Len(t, call(t, s, "GET", "/v2/cloudimages?name=web", nil).JSON["images"], 2)
}

func TestOSVersions(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	require.Greater(t, len(s.OSVersions("")), len(s.OSVersions("arm")))
	require.Contains(t, s.OSVersions("x86"), "CentOS 7.0 64bit")
	require.NotContains(t, s.OSVersions("arm"), "Ubuntu 14.04 server 32bit")
	r := send(s, "GET", "/v1/cloudimages/os_version?tag=arm&tag=uefi", "")
	require.Equal(t, 200, r.status)
	require.Contains(t, r.body, `{"os_bit":64,"os_type":"Linux","os_version":"Debian GNU/Linux 12.0.0 64bit","os_version_key":"Debian GNU/Linux 12.0.0 64bit","platform":"Debian"}`)
	require.NotContains(t, r.body, "CoreOS")
}

func TestEndlessLists(t *testing.T) {
	t.Parallel()
	s := rawCloud(t)
	fail(t, s, "images:endless-images:all")
	for range 3 {
		require.Len(t, call(t, s, "GET", "/v2/cloudimages?limit=7&marker=x", nil).JSON["images"], 7)
	}
}

func TestJobLimit(t *testing.T) {
	t.Parallel()
	s := rawCloud(t, imstest.WithVariants(imstest.JobLimit), imstest.WithJobDuration(time.Hour))
	for i := range 40 {
		require.Equal(t, 200, create(t, s, fmt.Sprintf("n%d", i)).status)
	}
	require.Contains(t, create(t, s, "more").body, "IMG.0060")
}

// Which requests are hit depends on their order alone, and every fault counts
// every request that it matches.
func TestFaultOrder(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t)
	hooked := 0
	s.Fail(imstest.Fault{Op: imstest.OpImages, Status: 500, Hook: func() { hooked++ }},
		imstest.Fault{Service: imstest.IMS, Status: 502, Nth: 2, Count: 2},
		imstest.Fault{Op: imstest.OpImages, After: imstest.OpQuota, DropBefore: true, Reset: true, Count: -1})
	var got []int
	for range 4 {
		got = append(got, send(s, "GET", "/v2/cloudimages", "").status)
	}
	require.Equal(t, []int{500, 502, 502, 200}, got)
	require.Equal(t, 1, hooked)
	require.Equal(t, 200, send(s, "GET", "/v1/cloudimages/quota", "").status)
	require.Error(t, send(s, "GET", "/v2/cloudimages", "").err)
	s.ClearFaults()
	require.Equal(t, 200, send(s, "GET", "/v2/cloudimages", "").status)
}

// Answers that come late or byte by byte end with the client's patience.
func TestSlowAnswers(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"images:delay=1h", "images:answer-delay=1h", "images:trickle=1h", "images:cut-after=5,trickle=1h"} {
		s := imstest.NewServer(t)
		fail(t, s, text)
		r, err := http.NewRequest("GET", s.IMSEndpoint()+"/v2/cloudimages", nil)
		require.NoError(t, err)
		r.Header.Set("X-Auth-Token", s.Token())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		res, err := s.Client().Do(r.WithContext(ctx))
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		require.ErrorIs(t, err, context.DeadlineExceeded, text)
		require.NoError(t, s.Close(), text)
	}
}
