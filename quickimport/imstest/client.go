package imstest

import "github.com/fastimage/fastimage/quickimport"

// Options point a [quickimport.Client] at the server, with credentials that it takes.
func (s *Server) Options() []quickimport.Option {
	return []quickimport.Option{
		quickimport.WithRegion(s.Region()),
		quickimport.WithIMSEndpoint(s.IMSEndpoint()),
		quickimport.WithOBSEndpoint(s.OBSEndpoint()),
		quickimport.WithIAMEndpoint(s.IAMEndpoint()),
		quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
			AccessKey: s.AccessKey(), SecretKey: s.SecretKey(), SecurityToken: s.SecurityToken(),
		})),
	}
}
