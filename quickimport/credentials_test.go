package quickimport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// counted is a provider that gives what next gives, and counts.
type counted struct {
	asked atomic.Int32
	next  func(n int) (quickimport.Credentials, error)
}

func (c *counted) Credentials(context.Context) (quickimport.Credentials, error) {
	return c.next(int(c.asked.Add(1)))
}

// Credentials are kept until five minutes before they expire.
func TestCredentialsAreAskedForAgainNearTheirExpiry(t *testing.T) {
	keys := quickimport.Credentials{AccessKey: testAK, SecretKey: testSK}
	tests := map[string]struct {
		left time.Duration // until they expire; 0: they do not
		want int32         // how often the provider is asked in three requests
	}{
		"far from it":     {time.Hour, 1},
		"just before":     {5*time.Minute + 10*time.Second, 1},
		"near":            {5*time.Minute - time.Second, 3},
		"expired":         {-time.Minute, 3},
		"do not expire":   {0, 1},
		"far, then again": {24 * time.Hour, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &counted{next: func(int) (quickimport.Credentials, error) {
				c := keys
				if tt.left != 0 {
					c.Expires = time.Now().Add(tt.left)
				}
				return c, nil
			}}
			c := testClient(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"images":[]}`) }, quickimport.WithCredentials(p))
			for range 3 {
				_, err := c.ImagesByName(t.Context(), "x")
				require.NoError(t, err)
			}
			require.Equal(t, tt.want, p.asked.Load())
		})
	}
	t.Run("the provider fails near the expiry", func(t *testing.T) {
		for left, works := range map[time.Duration]bool{time.Minute: true, -time.Minute: false} {
			p := &counted{next: func(n int) (quickimport.Credentials, error) {
				if n > 1 {
					return quickimport.Credentials{}, errors.New("the metadata service is away")
				}
				c := keys
				c.Expires = time.Now().Add(left)
				return c, nil
			}}
			c := testClient(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"images":[]}`) }, quickimport.WithCredentials(p))
			_, err := c.ImagesByName(t.Context(), "x")
			require.NoError(t, err)
			if _, err = c.ImagesByName(t.Context(), "x"); works {
				require.NoError(t, err, "what is kept is good for a minute yet")
			} else {
				require.ErrorContains(t, err, "metadata service")
			}
		}
	})
}

// A token that the service calls expired is replaced and the request sent once
// more, the POST too: it was not carried out.
func TestExpiredTokenIsReplaced(t *testing.T) {
	srv := ruleCloud(t)
	p := &counted{next: func(int) (quickimport.Credentials, error) {
		return quickimport.Credentials{Token: srv.Token(), Expires: time.Now().Add(time.Hour)}, nil
	}}
	c := cloudClient(t, srv, quickimport.WithCredentials(p))
	_, err := c.ImagesByName(t.Context(), "x")
	require.NoError(t, err)
	require.EqualValues(t, 1, p.asked.Load())

	srv.SetToken("another-token")
	_, err = c.ImagesByName(t.Context(), "x")
	require.NoError(t, err)
	require.EqualValues(t, 2, p.asked.Load())

	srv.SetToken("a-third-token")
	id, err := c.CreateImage(t.Context(), ruleImage(false))
	require.NoError(t, err)
	require.NotEmpty(t, id)
	require.EqualValues(t, 3, p.asked.Load())
	require.Equal(t, 2, posts(srv), "one refused, one carried out")
	require.Len(t, srv.Images(), 1)

	p.next = func(int) (quickimport.Credentials, error) { return quickimport.Credentials{Token: "stale"}, nil }
	srv.SetToken("a-fourth-token")
	before := len(srv.Requests())
	_, err = c.ImagesByName(t.Context(), "x")
	require.ErrorIs(t, err, quickimport.ErrAuthentication)
	require.Len(t, srv.Requests(), before+2, "other credentials are tried once, not for ever")
}

// Credentials that do not change are not tried twice.
func TestRefusedStaticCredentialsFailAtOnce(t *testing.T) {
	srv := ruleCloud(t)
	c := cloudClient(t, srv, quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{Token: "stale"})))
	_, err := c.ImagesByName(t.Context(), "x")
	require.ErrorIs(t, err, quickimport.ErrAuthentication)
	require.Len(t, srv.Requests(), 1)
	_, err = c.CreateImage(t.Context(), ruleImage(false))
	require.ErrorIs(t, err, quickimport.ErrAuthentication)
	require.Equal(t, 1, posts(srv))
}

// The fault of one expired token in the middle of an import is not noticed.
func TestImportThroughAnExpiredToken(t *testing.T) {
	for nth := 1; nth <= 4; nth++ {
		srv := imstest.NewServer(t)
		expired := imstest.ExpiredToken()
		expired.Nth = nth
		srv.Fail(expired)
		n := 0
		var mu sync.Mutex
		p := quickimport.CredentialsFunc(func(context.Context) (quickimport.Credentials, error) {
			mu.Lock()
			defer mu.Unlock()
			n++ // each time others, as a provider of temporary credentials gives them
			return quickimport.Credentials{AccessKey: srv.AccessKey(), SecretKey: srv.SecretKey(), Token: srv.Token(), Expires: time.Now().Add(time.Hour + time.Duration(n)*time.Second)}, nil
		})
		_, err := cloudClient(t, srv, quickimport.WithCredentials(p)).Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
		require.NoError(t, err, "request %d", nth)
		require.Len(t, srv.Images(), 1)
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// Nothing that an import leaves, says or logs has a secret in it, whether it
// succeeds or fails.
func TestSecretsAreNowhere(t *testing.T) {
	const ak, sk, securityToken, token = "AKSECRETSECRETSECRET", "sk-very-secret-sk-very-secret", "security-token-secret", "iam-token-secret"
	faults := map[string][]imstest.Fault{
		"success":        nil,
		"retries":        {{Service: imstest.OBS, Method: http.MethodPut, Status: 500, Nth: 2, Count: 2}, {Service: imstest.IMS, Method: http.MethodGet, Status: 503, Count: 2}},
		"lost answer":    {{Service: imstest.IMS, Method: http.MethodPost, DropBefore: true}},
		"job fails":      {{Service: imstest.IMS, Method: http.MethodPost, JobCode: "IMG.0057", JobReason: "damaged"}},
		"denied":         {{Service: imstest.OBS, Method: http.MethodPut, Status: 403, Code: "AccessDenied", Count: -1}},
		"not authorized": {{Service: imstest.IMS, Status: 401, Code: "APIGW.0301", Message: "Incorrect IAM authentication information", Count: -1}},
		"wrong secret":   nil,
		"wrong token":    nil,
	}
	for name, faults := range faults {
		for _, useToken := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/token=", useToken), func(t *testing.T) {
				t.Parallel()
				srv := imstest.NewServer(t, imstest.WithCredentials(ak, sk), imstest.WithSecurityToken(securityToken), imstest.WithToken(token))
				srv.Fail(faults...)
				creds := quickimport.Credentials{AccessKey: ak, SecretKey: sk, SecurityToken: securityToken, Expires: time.Now().Add(time.Hour)}
				if useToken {
					creds.Token = token
				}
				secrets := []string{ak, sk, securityToken, token}
				switch name {
				case "wrong secret":
					creds.SecretKey = "other-secret-key"
					secrets = append(secrets, creds.SecretKey)
				case "wrong token":
					creds.Token, creds.SecurityToken = "other-token", "other-security-token"
					secrets = append(secrets, creds.Token, creds.SecurityToken)
				}
				out := &syncBuffer{}
				dir := t.TempDir()
				provider := quickimport.StaticCredentials(creds)
				opts := append(srv.Options(), quickimport.WithCredentials(provider), quickimport.WithStateDir(dir), quickimport.WithSettleTime(0),
					quickimport.WithPolling(time.Millisecond, 10*time.Millisecond),
					quickimport.WithLogger(slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))))
				show := onProgress(func(e quickimport.Progress) { fmt.Fprintf(out, "%+v %#v\n", e, e) })
				c, err := quickimport.New(opts...)
				require.NoError(t, err)
				say := func(vs ...any) {
					for _, v := range vs {
						fmt.Fprintf(out, "%v %+v %#v %s\n", v, v, v, v)
						if js, err := json.Marshal(v); err == nil {
							out.Write(js)
						}
						for err, ok := v.(error); ok && err != nil; err = errors.Unwrap(err) {
							fmt.Fprintf(out, "%+v %#v\n", err, err)
						}
					}
				}
				plan, perr := c.Plan(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
				res, rerr := c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()), show)
				report, derr := c.Doctor(t.Context(), srv.Bucket(), quickimport.WithTrialImport())
				say(c, opts, creds, &creds, []quickimport.Credentials{creds}, map[string]any{"c": creds}, provider, plan, perr, res, rerr, report, derr)
				slog.New(slog.NewTextHandler(out, nil)).Info("credentials", "value", creds, "client", c)

				files := 0
				require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					files++
					data, err := os.ReadFile(path)
					fmt.Fprintf(out, "%s: %s\n", path, data)
					return err
				}))
				if name == "success" || name == "lost answer" {
					require.Positive(t, files, "there is a record to look at")
				}
				text := out.b.String()
				require.Contains(t, text, "preflight")
				for _, s := range secrets {
					i := strings.Index(text, s)
					require.Negative(t, i, "%q is in the output: %.200s", s, text[max(i-100, 0):])
				}
			})
		}
	}
}
