package wingbeat

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/admin"
	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/service"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	batchv1 "wingbeat.dev/client/idl/batch/v1"
	launchv1 "wingbeat.dev/client/idl/launch/v1"
	queryv1 "wingbeat.dev/client/idl/query/v1"
	recoveryv1 "wingbeat.dev/client/idl/recovery/v1"
	watchv1 "wingbeat.dev/client/idl/watch/v1"
)

// messageBytesMax is what the client takes in one message: values are handed out inline up to 18 MiB.
const messageBytesMax = 64 << 20

// ExecutionID names an execution.
type ExecutionID struct {
	Project, Domain, Name string
}

func (id ExecutionID) String() string { return id.Project + ":" + id.Domain + ":" + id.Name }

func (id ExecutionID) message() *queryv1.ExecutionIdentifier {
	return &queryv1.ExecutionIdentifier{Project: id.Project, Domain: id.Domain, Name: id.Name}
}

func idOf(message *queryv1.ExecutionIdentifier) ExecutionID {
	return ExecutionID{message.GetProject(), message.GetDomain(), message.GetName()}
}

// Client is a connection to an installation. It is safe for concurrent use; make one and keep it.
type Client struct {
	conn     *grpc.ClientConn
	project  string
	domain   string
	http     *http.Client
	launch   launchv1.LaunchServiceClient
	batches  batchv1.BatchServiceClient
	watch    watchv1.WatchServiceClient
	recovery recoveryv1.RecoveryServiceClient
	admin    service.AdminServiceClient
	signals  service.SignalServiceClient
}

type settings struct {
	project, domain string
	credentials     credentials.TransportCredentials
	dial            []grpc.DialOption
	err             error
}

// Option changes how Dial connects.
type Option func(*settings)

// WithScope sets the project and domain of items that name none. Without it they are flytesnacks and development.
func WithScope(project, domain string) Option {
	return func(s *settings) { s.project, s.domain = project, domain }
}

// WithTLS encrypts the connection; nil checks the server against the certificates of the system.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.credentials = credentials.NewTLS(config) }
}

// WithCA encrypts the connection and checks the server against the authorities in a PEM file.
func WithCA(file string) Option {
	return func(s *settings) {
		s.credentials, s.err = credentials.NewClientTLSFromFile(file, "")
	}
}

// WithDialOptions passes options to gRPC as they are, credentials of each call for instance.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// Dial makes a client for the gRPC address of an installation ("host:port"). It does not wait for the connection: the
// first call does. Without WithTLS or WithCA the connection is not encrypted.
func Dial(target string, options ...Option) (*Client, error) {
	s := settings{project: "flytesnacks", domain: "development", credentials: insecure.NewCredentials()}
	for _, option := range options {
		option(&s)
	}
	if s.err != nil {
		return nil, s.err
	}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(s.credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
	}, s.dial...)
	conn, err := grpc.NewClient(target, dial...)
	if err != nil {
		return nil, err
	}
	return &Client{
		conn:     conn,
		project:  s.project,
		domain:   s.domain,
		http:     &http.Client{},
		launch:   launchv1.NewLaunchServiceClient(conn),
		batches:  batchv1.NewBatchServiceClient(conn),
		watch:    watchv1.NewWatchServiceClient(conn),
		recovery: recoveryv1.NewRecoveryServiceClient(conn),
		admin:    service.NewAdminServiceClient(conn),
		signals:  service.NewSignalServiceClient(conn),
	}, nil
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// Conn is the connection itself, for services that the client has no methods for.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// Execution names an execution in the client's project and domain.
func (c *Client) Execution(name string) ExecutionID { return ExecutionID{c.project, c.domain, name} }

// Version asks the installation for its version.
func (c *Client) Version(ctx context.Context) (string, error) {
	answer, err := c.admin.GetVersion(ctx, &admin.GetVersionRequest{})
	return answer.GetControlPlaneVersion().GetVersion(), wrap(err)
}
