// A key that ends what is shown again and again.
#ifndef MUSTER_CLIENT_CLI_QUIT_KEY_H_
#define MUSTER_CLIENT_CLI_QUIT_KEY_H_

#include <termios.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <thread>

namespace muster {

// While it lives, "q" typed at the terminal of `descriptor` requests a stop, and what is typed is not shown. Only where
// that is a terminal with this process in its foreground, whose settings are put back in the end. Ctrl-C stays a signal.
class QuitKey {
 public:
  // `parent` requests the stop, too.
  QuitKey(int descriptor, const std::stop_token& parent);
  ~QuitKey();
  QuitKey(const QuitKey&) = delete;
  QuitKey& operator=(const QuitKey&) = delete;

  std::stop_token stop() const { return source_.get_token(); }

 private:
  // Until it is asked to end, or nobody can type any more.
  void Read(const std::stop_token& end);

  const int descriptor_;
  std::stop_source source_;
  // Those of before; unset where nothing was changed.
  std::optional<termios> settings_;
  const std::stop_callback<std::function<void()>> of_parent_;
  std::jthread reader_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_QUIT_KEY_H_
