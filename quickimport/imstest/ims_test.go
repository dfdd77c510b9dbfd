package imstest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/vectortest"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

type answer struct {
	Status int
	JSON   map[string]any
}

func (a answer) code() string {
	if e, ok := a.JSON["error"].(map[string]any); ok {
		return e["code"].(string)
	}
	c, _ := a.JSON["error_code"].(string)
	return c
}

func call(t *testing.T, s *imstest.Server, method, path string, body any) answer {
	t.Helper()
	var in io.Reader
	if b, ok := body.(string); ok {
		in = strings.NewReader(b)
	} else if body != nil {
		b, err := json.Marshal(body)
		require.NoError(t, err)
		in = strings.NewReader(string(b))
	}
	base := s.IMSEndpoint()
	if strings.HasPrefix(path, "/v3") {
		base = s.IAMEndpoint()
	}
	r, err := http.NewRequest(method, base+path, in)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", imstest.DefaultToken)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	a := answer{Status: res.StatusCode}
	require.NotEmpty(t, res.Header.Get("X-Request-Id"))
	if res.StatusCode != http.StatusNoContent {
		require.NoError(t, json.NewDecoder(res.Body).Decode(&a.JSON))
	}
	return a
}

const action = "/v2/cloudimages/quickimport/action"

func system(change map[string]any) map[string]any {
	b := map[string]any{"name": "web", "os_version": " CentOS 7.0 64bit", "image_url": "images:disk.raw", "min_disk": 40, "type": "ECS"}
	maps.Copy(b, change)
	for k, v := range b {
		if v == nil {
			delete(b, k)
		}
	}
	return b
}

// wait polls a job until it has ended; only a hanging job takes the minute.
func wait(t *testing.T, s *imstest.Server, id string) map[string]any {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		a := call(t, s, "GET", "/v1/cloudimages/job/"+id, nil)
		require.Equal(t, 200, a.Status)
		if st := a.JSON["status"]; st == "SUCCESS" || st == "FAIL" {
			return a.JSON
		}
	}
	require.FailNow(t, "the job does not end")
	return nil
}

func TestRules(t *testing.T) {
	t.Parallel()
	s := imstest.NewServer(t, imstest.WithQuota(1))
	put := func(key, data string) { require.NoError(t, s.PutObject("images", key, strings.NewReader(data))) }
	put("disk.raw", strings.Repeat("d", 1024))
	put("disk.mf", "m")
	put("bare.raw", "d")
	put("empty.raw", "")
	put("foreign.raw", "QFI\xfb....")
	require.NoError(t, s.MakeBucket("elsewhere", "other", ""))
	require.NoError(t, s.MakeBucket("coldstore", "", "COLD"))
	require.NoError(t, s.PutObject("coldstore", "disk.raw", strings.NewReader("d")))
	type m = map[string]any
	data := func(c m) m {
		d := system(m{"type": "DataImage", "os_version": nil, "os_type": "Linux"})
		maps.Copy(d, c)
		return d
	}
	without := func(b m, k string) m { delete(b, k); return b }
	for _, c := range []struct {
		rule string
		body any
		code string
	}{
		{"empty body", "", "IMG.0007"},
		{"not JSON", "{", "IMG.0001"},
		{"nested without end", strings.Repeat(`{"name":`, 100000), "IMG.0001"},
		{"not UTF-8", "{\"name\":\"\xff\"}", "IMG.0001"},
		{"too many tags", system(m{"image_tags": slices.Repeat([]m{{"key": "k", "value": "v"}}, 20000)}), "IMG.0115"},
		{"wrong type", `{"name":1}`, "IMG.0001"},
		{"name missing", system(m{"name": nil}), "IMG.0062"},
		{"name long", system(m{"name": strings.Repeat("n", 129)}), "IMG.0002"},
		{"name characters", system(m{"name": "a/b"}), "IMG.0003"},
		{"name space", system(m{"name": " a"}), "IMG.0003"},
		{"description long", system(m{"description": strings.Repeat("像", 1025)}), "IMG.0004"},
		{"description characters", system(m{"description": "a<b"}), "IMG.0054"},
		{"type", system(m{"type": "Floppy"}), "IMG.0024"},
		{"os_version missing", system(m{"os_version": nil}), "IMG.0159"},
		{"os_version invalid", system(m{"os_version": "a<b"}), "IMG.0056"},
		{"os_type of a system disk", system(m{"os_type": "Linux"}), "IMG.0122"},
		{"os_type missing", without(data(nil), "os_type"), "IMG.0122"},
		{"os_type unknown", data(m{"os_type": "Plan9"}), "IMG.0122"},
		{"os_version of a data disk", data(m{"os_version": "x"}), "IMG.0056"},
		{"image_url missing", system(m{"image_url": nil}), "IMG.0017"},
		{"image_url form", system(m{"image_url": "images"}), "IMG.0017"},
		{"image_url space", system(m{"image_url": "images:a b.raw"}), "IMG.0175"},
		{"min_disk missing", system(m{"min_disk": nil}), "IMG.0055"},
		{"min_disk small", system(m{"min_disk": 0}), "IMG.0055"},
		{"min_disk large", system(m{"min_disk": 1025}), "IMG.0055"},
		{"tag form", system(m{"tags": []string{"a"}}), "IMG.0115"},
		{"tag key long", system(m{"tags": []string{strings.Repeat("k", 37) + ".v"}}), "IMG.0115"},
		{"tag value long", system(m{"image_tags": []m{{"key": "k", "value": strings.Repeat("v", 44)}}}), "IMG.0115"},
		{"both tags", system(m{"tags": []string{"a.b"}, "image_tags": []m{{"key": "k", "value": ""}}}), "IMG.0116"},
		{"enterprise project", system(m{"enterprise_project_id": "x"}), "IMG.0001"},
		{"architecture", system(m{"architecture": "mips"}), "IMG.0212"},
		{"architecture of a data disk", data(m{"architecture": "x86"}), "IMG.0212"},
		{"firmware", system(m{"hw_firmware_type": "coreboot"}), "IMG.0141"},
		{"arm with bios", system(m{"architecture": "arm", "hw_firmware_type": "bios"}), "IMG.0141"},
		{"license of Linux", system(m{"license_type": "byol"}), "IMG.0001"},
		{"bucket missing", system(m{"image_url": "nobucket:disk.raw"}), "IMG.0069"},
		{"bucket elsewhere", system(m{"image_url": "elsewhere:disk.raw"}), "IMG.0058"},
		{"storage class", system(m{"image_url": "coldstore:disk.raw"}), "IMG.0057"},
		{"object missing", system(m{"image_url": "images:none.raw"}), "IMG.0121"},
		{"object empty", system(m{"image_url": "images:empty.raw"}), "IMG.0057"},
		{"foreign format", system(m{"image_url": "images:foreign.raw"}), "IMG.0158"},
		{"no bitmap file", system(m{"image_url": "images:bare.raw"}), "IMG.0158"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			a := call(t, s, "POST", action, c.body)
			require.Equal(t, 400, a.Status)
			require.Equal(t, c.code, a.code())
		})
	}
	require.Empty(t, s.Images())
	a := call(t, s, "POST", "/v2.1/cloudimages/quickimport/action", system(m{"tags": []string{"a.b"}, "description": strings.Repeat("像", 1024)}))
	require.Equal(t, 200, a.Status, a.JSON)
	require.Equal(t, "SUCCESS", wait(t, s, a.JSON["job_id"].(string))["status"])
	require.Equal(t, "IMG.0009", call(t, s, "POST", action, system(nil)).code())
	require.Equal(t, "IMG.0015", call(t, s, "POST", action, system(m{"name": "other"})).code())
	img := s.Images()[0]
	require.Equal(t, "active", img.Status)
	require.Equal(t, "CentOS 7.0 64bit", img.OSVersion)
	require.Len(t, call(t, s, "GET", "/v2/cloudimages?name=web", nil).JSON["images"], 1)
	require.Len(t, call(t, s, "GET", "/v2/cloudimages?id="+img.ID, nil).JSON["images"], 1)
	require.Empty(t, call(t, s, "GET", "/v2/cloudimages?name=we", nil).JSON["images"])
	require.Equal(t, 204, call(t, s, "DELETE", "/v2/images/"+img.ID, nil).Status)
	require.Equal(t, 404, call(t, s, "DELETE", "/v2/images/"+img.ID, nil).Status)
	require.Len(t, call(t, s, "GET", "/v3/projects?name="+s.Region(), nil).JSON["projects"], 1)
}

// disks imports ZVHD2 files one after the other.
type disks struct {
	t *testing.T
	s *imstest.Server
	n int
}

func (d *disks) run(data []byte) map[string]any {
	d.t.Helper()
	d.n++
	require.NoError(d.t, d.s.PutObject("images", "d.zvhd2", bytes.NewReader(data)))
	a := call(d.t, d.s, "POST", action, system(map[string]any{"name": fmt.Sprintf("n%d", d.n), "image_url": "images:d.zvhd2", "min_disk": 1024}))
	require.Equal(d.t, 200, a.Status, a.JSON)
	return wait(d.t, d.s, a.JSON["job_id"].(string))
}

func TestZVHD2Jobs(t *testing.T) {
	t.Parallel()
	d := &disks{t: t, s: imstest.NewServer(t, imstest.WithJobDuration(0))}
	vectors := []string{"empty.zvhd2", "gaps.zvhd2", "gaps-fullindex.zvhd2", "gaps-zlib.zvhd2", "small.zvhd2", "twoseg.zvhd2",
		"dirty-small.zvhd2", "dirty-chain.zvhd2"}
	for _, v := range vectors {
		j := d.run(vectortest.Named(t, v).Data)
		require.Equal(t, "SUCCESS", j["status"], "%s: %v", v, j)
		require.NotEmpty(t, j["entities"].(map[string]any)["image_id"])
	}
	good := vectortest.Named(t, "small.zvhd2").Data
	for _, off := range []int{100, 4096, 4096 + 16, 4096 + 60, len(good) - 4096 + 90, len(good) - 8192} {
		b := bytes.Clone(good)
		b[off] ^= 0x55
		j := d.run(b)
		require.Equal(t, "FAIL", j["status"], "offset %d", off)
		require.Equal(t, "IMG.0057", j["error_code"])
		require.NotEmpty(t, j["fail_reason"])
		require.NotEmpty(t, j["entities"].(map[string]any)["addition_error_msg"])
	}
	require.Equal(t, "FAIL", d.run(good[:len(good)-4096])["status"])
	require.Equal(t, "FAIL", d.run(good[:4096])["status"], "created and never written")
	require.Len(t, d.s.Images(), len(vectors))
}

// What the vendor's writer leaves dirty, and what nothing reads, is accepted.
func TestDirtyZVHD2(t *testing.T) {
	t.Parallel()
	d := &disks{t: t, s: imstest.NewServer(t, imstest.WithJobDuration(0))}
	good := vectortest.Named(t, "small.zvhd2").Data
	fill := func(b []byte, from, to int) {
		for i := from; i < to; i++ {
			b[i] = 0xCC
		}
	}
	last := len(good) - 4096
	seal := func(b []byte, sum func(footer []byte) uint32) {
		f := b[last : last+512]
		binary.LittleEndian.PutUint32(f[64:], 0)
		binary.LittleEndian.PutUint32(f[64:], ^sum(f))
	}
	total := func(f []byte) (s uint32) {
		for _, c := range f {
			s += uint32(c)
		}
		return s
	}
	for name, change := range map[string]func(b []byte){
		"footer pages":     func(b []byte) { fill(b, 512, 4096); fill(b, last+512, last+4096) },
		"record header":    func(b []byte) { fill(b, 4096+20, 4096+48) },
		"record padding":   func(b []byte) { n := binary.LittleEndian.Uint32(b[4096+12:]); b[4096+48+n] = 0xCC },
		"reserved, sealed": func(b []byte) { fill(b, last+142, last+512); seal(b, total) },
		"geometry":         func(b []byte) { fill(b, last+56, last+60); seal(b, total) },
		"hidden, old creator": func(b []byte) {
			binary.LittleEndian.PutUint32(b[last+32:], 0x00010001)
			seal(b, total)
			b[last+85] = 1
		},
	} {
		b := bytes.Clone(good)
		change(b)
		j := d.run(b)
		require.Equal(t, "SUCCESS", j["status"], "%s: %v", name, j)
	}
	b := bytes.Clone(good)
	b[last+85] = 1
	require.Equal(t, "FAIL", d.run(b)["status"], "hidden, current creator")
}

func TestFaultsAndRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := imstest.New(imstest.WithDir(dir), imstest.WithJobDuration(time.Hour), imstest.WithListen("127.0.0.1:0"))
	require.NoError(t, err)
	require.NoError(t, s.PutObject("images", "disk.raw", strings.NewReader("d")))
	require.NoError(t, s.PutObject("images", "disk.mf", strings.NewReader("m")))
	expired := imstest.ExpiredToken()
	expired.Nth = 2
	s.Fail(imstest.FlowControl("IMG.0060", 1), expired, imstest.Fault{Method: "POST", Drop: true, Nth: 3})
	require.Equal(t, "IMG.0060", call(t, s, "POST", action, system(nil)).code())
	require.Equal(t, "APIGW.0301", call(t, s, "POST", action, system(nil)).code())
	b, _ := json.Marshal(system(nil))
	r, _ := http.NewRequest("POST", s.IMSEndpoint()+action, strings.NewReader(string(b)))
	r.Header.Set("X-Auth-Token", s.Token())
	_, err = http.DefaultClient.Do(r)
	require.Error(t, err, "the answer is lost")
	require.Len(t, s.Images(), 1, "but the server acted")
	require.Equal(t, "queued", s.Images()[0].Status)
	require.NoError(t, s.Close())

	s = imstest.NewServer(t, imstest.WithDir(dir))
	job := s.Jobs()[0]
	require.Equal(t, "SUCCESS", wait(t, s, job.ID)["status"])
	require.Equal(t, 403, call(t, s, "GET", "/v1/wrong/jobs/"+job.ID, nil).Status)
	require.Equal(t, "SUCCESS", call(t, s, "GET", "/v1/"+s.ProjectID()+"/jobs/"+job.ID, nil).JSON["status"])
	s.Fail(imstest.Fault{Method: "POST", JobCode: "IMG.0059", JobReason: "too large"})
	a := call(t, s, "POST", action, system(map[string]any{"name": "fails"}))
	j := wait(t, s, a.JSON["job_id"].(string))
	require.Equal(t, "IMG.0059", j["error_code"])
	require.Len(t, s.Images(), 1)
	s.SetToken("new")
	require.Equal(t, 401, call(t, s, "GET", "/v2/cloudimages", nil).Status)
	require.NotEmpty(t, s.Requests())
}
