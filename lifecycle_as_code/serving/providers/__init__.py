"""Models at a provider: `ExternalModel` answers OpenAI's requests with them.

`model` is what callers see and what becomes of faults; `dialect` is the contract of one provider's way of
asking and answering, of which `openai`, `anthropic`, `bedrock` and `vertex` have the kinds; `completions`
makes completions of chats; `transport` and `keys` are what they share.

aiohttp, botocore and google-auth are imported when they are first needed.
"""

from lifecycle_as_code.serving.providers.keys import Secrets
from lifecycle_as_code.serving.providers.model import TASKS, ExternalModel

__all__ = ["TASKS", "ExternalModel", "Secrets"]
